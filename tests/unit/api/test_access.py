"""Who is served: programs on this machine while there is no key, and then holders of a key."""

from __future__ import annotations

import asyncio
import base64

import pytest
from starlette.types import Scope

from api.auth import keys
from api.auth.origin import why_not_local
from core import principal
from storage import Storage
from tests.asgi import answer, answers, bearer, guarded, part, scope


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
def test_which_requests_are_local(asked: Scope, local: bool) -> None:
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


def test_preflights_need_no_key(store: Storage) -> None:
    """BentoML answers them where CORS is on, otherwise they get 204; the body is not read."""
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
def test_a_malformed_authorization_is_refused_even_from_this_machine(store: Storage, value: str) -> None:
    app, _ = guarded(store)
    assert answer(app, scope(authorization=value))[0] == 401


def test_two_authorization_headers_are_refused(store: Storage) -> None:
    token = keys.create(store, "web", ["admin"])
    app, _ = guarded(store)
    asked = scope(authorization=bearer(token))
    asked["headers"] = asked["headers"] * 2
    assert answer(app, asked)[0] == 401
