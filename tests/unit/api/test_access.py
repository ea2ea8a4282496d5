"""Who is served: scopes, programs of this machine, slow and large bodies; and what is written down."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import re

import pytest
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from api.auth import keys
from api.auth.origin import why_not_local
from api.middleware.body_limits import BodyLimits
from api.middleware.request_log import RequestLog
from api.middleware.routing import Routing
from api.routes.route import ADMIN
from api.routes.table import ROUTES, TABLE, route_of
from api.server.request_timeout import RequestTimeout
from core import logs, principal
from core.settings import Settings
from storage import Storage
from tests.asgi import Served, answer, answers, bearer, guarded, part, scope

# Scopes


def test_a_route_for_everybody_or_for_operators_is_meant_to_be_one() -> None:
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


# Routes


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
def test_what_is_not_there_is_said_to_everybody(method: str, path: str, status: int, allowed: str | None) -> None:
    served = Served()
    found, headers, document = answer(Routing(served), scope(path, method))
    assert (found, headers.get("allow"), served.asked) == (status, allowed, [])
    assert document["error"]


def test_a_route_has_its_parameters() -> None:
    assert TABLE.find("GET", "/jobs/a/previews/b.mp3").parameters == {"job_id": "a", "name": "b.mp3"}
    assert TABLE.find("GET", "/data/outputs/twins/a/b.wav").parameters == {"path": "twins/a/b.wav"}
    assert TABLE.find("GET", "/loras/a:b").parameters == {"lora_id": "a:b"}


def test_every_route_is_found_by_itself() -> None:
    for route in ROUTES:
        path = re.sub(r"{(\w+)}", "x", route.path)
        assert TABLE.find(route.method, path).route is route


# Who is on this machine


@pytest.mark.parametrize(
    ("asked", "local"),
    [
        (scope(), True),
        (scope(client="::1"), True),
        (scope(client="::ffff:127.0.0.1"), True),
        (scope(client="127.8.8.8", host="localhost:3000"), True),
        (scope(host="[::1]:3000", origin="http://localhost:3001"), True),
        (scope(client="10.0.0.5"), False),
        (scope(client="testclient"), False),
        (scope(client="::ffff:10.0.0.5"), False),
        (scope(x_forwarded_for="127.0.0.1"), False),
        (scope(forwarded="for=127.0.0.1"), False),
        (scope(x_real_ip="127.0.0.1"), False),
        (scope(via="1.1 proxy"), False),
        (scope(host="twin.example.com"), False),
        (scope(host="127.0.0.1.example.com"), False),
        (scope(host="localhost.example.com:3000"), False),
        (scope(origin="https://example.com"), False),
        (scope(origin="null"), False),
        (scope(origin="http://localhost.example.com"), False),
        (scope(user_agent="curl/8", accept="*/*", x_request_id="1", content_length="2"), True),
        (scope(sec_fetch_site="same-origin"), True),
        (scope(sec_fetch_site="none"), True),
        (scope(sec_fetch_site="cross-site"), False),
        (scope(sec_fetch_site="same-site"), False),
        (scope(x_forwarded_prefix="/x"), False),
        (scope(x_original_uri="/x"), False),
        (scope(cf_connecting_ip="1.2.3.4"), False),
        (scope(true_client_ip="1.2.3.4"), False),
        (scope(x_client_ip="1.2.3.4"), False),
        (scope(x_cluster_client_ip="1.2.3.4"), False),
        (scope(remote_addr="1.2.3.4"), False),
        (scope(x_nf_client_connection_ip="1.2.3.4"), False),
        (scope(proxy_connection="keep-alive"), False),
        (scope(x_host="twin.example.com"), False),
        ({**scope(), "headers": [(b"x_forwarded_for", b"1.2.3.4")]}, False),
        ({**scope(), "headers": [(b"origin", b"http://localhost"), (b"origin", b"https://example.com")]}, False),
        (scope(sec_fetch_site="Cross-Site"), False),
        ({**scope(), "http_version": "1.0"}, False),
        ({**scope(), "client": None}, False),
    ],
)
def test_programs_of_this_machine(asked: Scope, local: bool) -> None:
    assert (why_not_local(asked) is None) is local


def test_without_a_key_only_this_machine_is_served(store: Storage) -> None:
    app, served = guarded(store)
    assert answer(app, scope())[0] == 200
    status, headers, document = answer(app, scope(client="10.0.0.5"))
    assert (status, headers["www-authenticate"]) == (401, "Bearer")
    assert "ALLOW_ANONYMOUS" in document["error"]
    assert "api.auth.keys create" in document["error"]
    assert "another machine" in document["error"]
    assert "X-Forwarded-For".lower() in answer(app, scope(x_forwarded_for="1.2.3.4"))[2]["error"]
    assert len(served.asked) == 1
    for watched in ("/livez", "/readyz"):
        assert answer(app, scope(watched, client="10.0.0.5"))[0] == 200
    app, served = guarded(store, allow_anonymous=True)
    assert answer(app, scope(client="10.0.0.5"))[0] == 200


def test_with_a_key_everybody_needs_one(store: Storage) -> None:
    token = keys.create(store, "web", ["generate"], ["ada"])
    app, served = guarded(store)
    assert answer(app, scope())[0] == 401
    assert answer(app, scope(authorization=bearer(token)))[0] == 200
    basic = base64.b64encode(f"anybody:{token}".encode()).decode()
    assert answer(app, scope("/status", authorization=f"Basic {basic}"))[0] == 200
    who, passed = served.asked[0]
    assert (who.sees("ada"), who.sees("bob")) == (True, False)
    assert passed["headers"] == []  # the key goes no further
    assert principal.current().sees("bob")  # and does not outlive its request
    status, headers, _ = answer(app, scope("/status"))
    assert (status, headers["www-authenticate"].split()[0]) == (401, "Basic")
    status, _, document = answer(app, scope("/train", "POST", authorization=bearer(token)))
    assert (status, "train" in document["error"]) == (403, True)


def test_browsers_may_ask_what_they_may_ask(store: Storage) -> None:
    """Without a key: by BentoML's answer where it is told to give one, and else with nothing; no body is looked at."""
    keys.create(store, "web", ["admin"])
    asked = scope("/generate", "OPTIONS", "10.0.0.5", origin="https://x.com", access_control_request_method="POST")
    app, served = guarded(store, cors=True)
    assert answer(app, asked, part(10, more=True), wait=True)[0] == 200
    assert not served.asked[0][0].sees("ada")
    for cors, question in ((False, asked), (True, scope("/generate", "OPTIONS", client="10.0.0.5"))):
        app, served = guarded(store, cors=cors)
        sent = asyncio.run(answers(app, question))
        assert (sent[0]["status"], served.asked) == (204, [])


@pytest.mark.parametrize(
    "value", ["Bearer", "Bearer ", "Basic", "Basic !!!", "Basic YQ==", "Digest x", "x", "bearer  ptk_a_b", "Bearer a b"]
)
def test_what_is_no_authorization_is_refused_even_from_this_machine(store: Storage, value: str) -> None:
    app, _ = guarded(store)
    assert answer(app, scope(authorization=value))[0] == 401


def test_two_authorizations_are_none(store: Storage) -> None:
    token = keys.create(store, "web", ["admin"])
    app, _ = guarded(store)
    asked = scope(authorization=bearer(token))
    asked["headers"] = asked["headers"] * 2
    assert answer(app, asked)[0] == 401


# Bodies


def test_a_body_that_stops_coming(store: Storage) -> None:
    app = BodyLimits(Served(), Settings(body_silence_seconds=0.05))
    status, _, document = answer(app, scope("/generate", "POST"), part(10, more=True), wait=True)
    assert (status, "0.05 s" in document["error"]) == (408, True)


def test_a_client_that_leaves_is_no_failure_of_the_service() -> None:
    """Whatever the handler makes of half a body."""

    async def fails(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        await Response(status_code=500)(scope, receive, send)

    status, _, document = answer(BodyLimits(fails, Settings()), scope("/generate", "POST"), part(10, more=True))
    assert (status, "closed" in document["error"]) == (499, True)


def test_a_body_that_trickles(store: Storage) -> None:
    """A piece now and then is not enough; a body that comes steadily is, however long it takes."""
    for size, status in ((10, 408), (2**16, 200)):
        app = BodyLimits(Served(), Settings(body_silence_seconds=0.2))
        pieces = [part(size, more=True)] * 7 + [part(size)]
        assert answer(app, scope("/generate", "POST"), *pieces, pause=0.08)[0] == status


def test_bodies_at_once_have_room_or_are_refused() -> None:
    """Also after requests that were refused, answered, or went away, there is as much room as before."""
    served = Served()
    app = BodyLimits(served, Settings(max_bodies_bytes=2000))
    for _ in range(3):
        assert answer(app, scope("/generate", "POST"), part(600, more=True), part(400))[0] == 200
        status, headers, _ = answer(app, scope("/generate", "POST"), part(600, more=True), part(401))
        assert (status, headers["retry-after"]) == (503, "5")
        assert app.room.left == 2000
    assert answer(app, scope("/uploads", "POST"), part(5000))[0] == 200  # goes to disk
    assert answer(app, scope("/store-upload", "POST"), part(5000))[0] == 200  # as well


def test_what_a_body_declares_is_taken_at_once() -> None:
    app = BodyLimits(Served(), Settings(max_bodies_bytes=2000))
    taken: list[int] = []

    async def look(asked: Scope, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body"):
            taken.append(2000 - app.room.left)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    app.app = look
    assert answer(app, scope("/generate", "POST", content_length="900"), part(100, more=True), part(800))[0] == 200
    assert taken == [900] and app.room.left == 2000
    assert answer(app, scope("/generate", "POST", content_length="1001"), part(1001))[0] == 503


def test_one_asker_leaves_as_much_room_for_others_as_it_has() -> None:
    room = BodyLimits(Served(), Settings(max_bodies_bytes=1000)).room
    ada, bob = room.of(["web", "web, visitor ada"]), room.of(["bob"])
    assert ada(500) and not ada(1) and not room.of(["web", "web, visitor eve"])(1)
    assert bob(250) and not bob(1)
    assert ada(-500) and bob(1)


@pytest.mark.parametrize("value", [b"[],", b"{},", b"1,", b"["])
@pytest.mark.parametrize("path", ["/generate", "/train", "/store-upload", "/loras/a:b/retrain"])
def test_a_body_of_very_many_values_is_never_parsed(path: str, value: bytes) -> None:
    """Of 8 MiB of lists Python makes 0.7 GB, and takes seconds for it, in which nobody else is served."""
    app = BodyLimits(Served(), Settings())
    body: Message = {"type": "http.request", "body": value * 1_000_000, "more_body": False}
    status, _, document = answer(app, scope(path, "POST"), body)
    assert (status, "100000 values" in document["error"]) == (413, True)
    body["body"] = value * 30_000
    assert answer(app, scope(path, "POST"), body)[0] == 200


def test_json_is_small_whatever_uploads_may_be() -> None:
    app = BodyLimits(Served(), Settings())
    asked = scope("/generate", "POST", content_length=str(9 * 2**20))
    assert answer(app, asked)[0] == 413
    asked = scope("/store-upload", "POST", content_length=str(9 * 2**20))
    assert answer(app, asked)[0] == 200


# What is written down


def test_a_request_and_its_change_are_written_down(store: Storage, caplog: pytest.LogCaptureFixture) -> None:
    token = keys.create(store, "web", ["train"], ["ada"])
    inner, _ = guarded(store)
    app = RequestLog(inner)
    caplog.set_level(logging.INFO, "producer_twin")
    asked = scope("/loras/ada:x\nFAKE 200", "DELETE", authorization=bearer(token), x_request_id="from-the-client")
    status, headers, _ = answer(app, asked)
    assert (status, headers["x-request-id"]) == (200, "from-the-client")
    lines = [record for record in caplog.records if record.name in ("producer_twin.access", "producer_twin.audit")]
    assert [line.name.rpartition(".")[2] for line in lines] == ["access", "audit"]
    for line in lines:
        assert "\n" not in line.getMessage()
        assert token not in str(line.__dict__)
        assert (line.status, line.method) == (200, "DELETE")  # type: ignore[attr-defined]
        assert line.principal == f"key {token.split('_')[1]}"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("begun", "ends", "status"),
    [
        (True, False, 200),
        (False, False, 499),
        (False, True, 504),
    ],
)
def test_what_has_no_end_is_written_down(
    begun: bool, ends: bool, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """A stream whose client goes, a request whose client goes, one that took too long."""

    async def stops(scope: Scope, receive: Receive, send: Send) -> None:
        if begun:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        await asyncio.sleep(60 if ends else 0)

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        pass

    caplog.set_level(logging.INFO, "producer_twin")
    asyncio.run(RequestTimeout(RequestLog(stops), 0.05)(scope("/jobs/x/events"), receive, send))
    (line,) = [record for record in caplog.records if record.name == "producer_twin.access"]
    assert line.status == status  # type: ignore[attr-defined]


@pytest.mark.parametrize("given_id", ["", "x" * 65, "a b", "a\nb", "ü", '"}{'])
def test_a_request_id_that_is_not_plain_is_replaced(given_id: str) -> None:
    status, headers, _ = answer(RequestLog(Served()), scope(x_request_id=given_id))
    assert status == 200
    assert headers["x-request-id"] != given_id
    assert len(headers["x-request-id"]) == 32


def test_log_lines_hold_the_ids_and_no_lines_of_a_clients_making() -> None:
    record = logging.LogRecord("producer_twin.x", logging.INFO, "f", 1, "said %s", ("a\nb\x1b[31m",), None)
    with logs.request("r-1"):
        logs._Ids().filter(record)
    assert logs._Text(None).format(record).endswith("INFO producer_twin.x said a?b?[31m request_id=r-1")
    document = json.loads(logs._json().format(record))
    assert (document["request_id"], document["message"], document["level"]) == ("r-1", "said a\nb\x1b[31m", "INFO")
    assert "\n" not in logs._json().format(record)
    assert logs.request_id() == ""


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
def test_metrics_name_routes_and_no_clients_words(method: str, path: str, label: str) -> None:
    assert route_of(scope(path, method)).label == label
