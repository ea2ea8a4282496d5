"""The route table: a request finds its route, what is not there is a 404 or a 405, and each route has its scopes."""

from __future__ import annotations

import re

import pytest

from api.middleware.routing import Routing
from api.routes.route import ADMIN
from api.routes.table import ROUTES, TABLE, route_of
from tests.asgi import Served, answer, scope


def test_routes_without_a_key_and_routes_for_admins() -> None:
    assert {route.path for route in ROUTES if route.scopes is None} == {"/livez", "/readyz", "/healthz"}
    assert {route.path for route in ROUTES if route.scopes == ADMIN} == {"/metrics"}


@pytest.mark.parametrize(
    ("method", "path", "scopes"),
    [
        ("POST", "/generate", {"generate"}),
        ("GET", "/backends", {"generate", "train"}),
        ("GET", "/loras", {"generate", "train"}),
        ("HEAD", "/loras", {"generate", "train"}),
        ("GET", "/loras/a:b", {"generate", "train"}),
        ("GET", "/loras/a:b/file", {"train"}),
        ("DELETE", "/loras/a:b", {"train"}),
        ("POST", "/loras/a:b/rollback", {"train"}),
        ("GET", "/jobs", {"train"}),
        ("POST", "/jobs/x/cancel", {"train"}),
        ("GET", "/datasets/a", {"train"}),
        ("POST", "/uploads/link", {"train"}),
        ("GET", "/metrics", set()),
    ],
)
def test_scopes(method: str, path: str, scopes: set[str]) -> None:
    assert set(TABLE.find(method, path).route.scopes or ()) == scopes | {"admin"}


@pytest.mark.parametrize(
    ("method", "path", "status", "allowed"),
    [
        ("GET", "/nothing", 404, None),
        ("GET", "//backends", 404, None),
        ("GET", "/backends/", 404, None),
        ("GET", "/backends\n", 404, None),
        ("GET", "/loras/a:b/file\n", 404, None),
        ("GET", "/loras/a:b/file/x", 404, None),
        ("PUT", "/train/cancel", 404, None),
        ("POST", "/train/retry", 404, None),
        ("GET", "*", 404, None),
        ("GET", "", 404, None),
        ("OPTIONS", "/nothing", 404, None),
        ("POST", "/backends", 405, "GET, HEAD"),
        ("GET", "/generate", 405, "POST"),
        ("GET", "/loras/import", 405, "POST"),
        ("PATCH", "/loras/a:b", 405, "GET, HEAD, DELETE"),
    ],
)
def test_unknown_paths_and_methods_are_refused_before_a_key_is_asked_for(
    method: str, path: str, status: int, allowed: str | None
) -> None:
    served = Served()
    found, headers, document = answer(Routing(served), scope(path, method))
    assert (found, headers.get("allow"), served.asked) == (status, allowed, [])
    assert document["error"]


@pytest.mark.parametrize(
    ("method", "path", "status", "allowed"),
    [
        ("GET", "/producers", 404, None),
        ("PUT", "/producers/a", 405, "GET, HEAD, DELETE"),
        ("GET", "/producers/a/usage", 404, None),
        ("OPTIONS", "/producers", 404, None),
    ],
)
def test_routes_of_users_who_sign_in_exist_only_where_they_can(
    method: str, path: str, status: int, allowed: str | None
) -> None:
    served = Served()
    found, headers, _ = answer(Routing(served), scope(path, method))
    assert (found, headers.get("allow"), served.asked) == (status, allowed, [])
    assert answer(Routing(served, sign_in=True), scope(path, method))[0] == 200


def test_a_route_has_its_parameters() -> None:
    assert TABLE.find("GET", "/jobs/a/previews/b.mp3").path == {"job_id": "a", "name": "b.mp3"}
    assert TABLE.find("GET", "/data/outputs/twins/a/b.wav").path == {"path": "twins/a/b.wav"}
    assert TABLE.find("GET", "/loras/a:b").path == {"lora_id": "a:b"}


def test_every_route_is_found_by_itself() -> None:
    for route in ROUTES:
        path = re.sub(r"{(\w+)}", "x", route.path)
        assert TABLE.find(route.method, path).route is route


@pytest.mark.parametrize(
    ("method", "path", "label"),
    [
        ("POST", "/generate", "/generate"),
        ("POST", "/jobs/abc/cancel", "/jobs"),
        ("GET", "/loras/a:b", "/loras"),
        ("GET", "/lorasx", "other"),
        ("GET", "/data/outputs/twins/a/x.wav", "/data/outputs"),
        ("GET", "/../../etc", "other"),
    ],
)
def test_labels_of_metrics_have_no_words_of_clients(method: str, path: str, label: str) -> None:
    assert route_of(scope(path, method)).label == label
