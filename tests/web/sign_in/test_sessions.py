"""Attacks on the session cookie, and settings that are missing: the app never falls back to its API key."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from scripts.serving import free_port
from scripts.web import WEB
from tests.api import error_of
from tests.issuer import DISCOVERY, served_issuer
from tests.web.conftest import StandIn, Web

PUBLIC = {"host": "studio.example", "origin": "https://studio.example"}
SECRET = "a secret of the tests, which is long enough"
BODY = {"artistId": "a", "loraId": "p:night", "prompt": "dark"}


@pytest.fixture(scope="module")
def issuer() -> Iterator[dict[str, str]]:
    """The app's settings for a provider with a discovery document, where nobody can sign in."""
    with served_issuer() as served:
        names = ("authorization", "token", "end_session")
        document = {f"{name}_endpoint": f"{served.url}/{name}" for name in names}
        document |= {"issuer": served.url, "jwks_uri": f"{served.url}/.well-known/jwks.json"}
        served.answers[DISCOVERY] = (200, {}, json.dumps(document).encode())
        yield {"AUTH_ISSUER": served.url, "AUTH_CLIENT_ID": "web", "SESSION_SECRET": SECRET}


@pytest.fixture
def app(web: Web, issuer: dict[str, str], stand_in: StandIn) -> httpx.Client:
    return web(stand_in.environment | issuer)


@contextmanager
def fresh(app: httpx.Client) -> Iterator[httpx.Client]:
    """A client without cookies."""
    with httpx.Client(base_url=app.base_url, timeout=60, trust_env=False) as client:
        yield client


def begun(client: httpx.Client, **headers: str) -> httpx.Response:
    """Begin to sign in."""
    answer = client.get("/api/account/sign-in?next=/producer", headers=headers)
    assert answer.status_code == 303
    return answer


def test_anonymous_requests_carry_no_key(app: httpx.Client, stand_in: StandIn) -> None:
    with fresh(app) as client:
        assert client.post("/api/artist/generate", json=BODY).status_code == 200
        headers = {"authorization": "Bearer ptk_a_b"}
        assert client.post("/api/artist/generate", json=BODY, headers=headers).status_code == 200
    assert len(stand_in.seen) == 2 and not any("authorization" in seen for _, seen, _ in stand_in.seen)


def test_a_cookie_that_was_not_made_here_is_nobodys(app: httpx.Client, stand_in: StandIn) -> None:
    with fresh(app) as client:
        begun(client)
        (pending,) = client.cookies.jar
        cookies = {
            "plain": '{"access":"x","expiresAt":9999999999,"name":"ada"}',
            "unsigned": "eyJhbGciOiJub25lIn0.eyJhY2Nlc3MiOiJ4In0.",
            "of another purpose": pending.value or "",
            "cut short": (pending.value or "")[:-4],
        }
        client.cookies.clear()
        for value in cookies.values():
            cookie = {"cookie": f"producer-twin-session={value}", "origin": str(app.base_url).rstrip("/")}
            assert client.get("/api/account", headers=cookie).json() == {"user": None}
            assert client.post("/api/artist/generate", json=BODY, headers=cookie).status_code == 200
    assert not any("authorization" in seen for _, seen, _ in stand_in.seen)


def test_a_way_back_that_this_browser_did_not_begin_is_refused(app: httpx.Client) -> None:
    """An attacker's code and state would otherwise sign a victim in as the attacker."""
    with fresh(app) as attacker:
        state = parse_qs(urlsplit(begun(attacker).headers["location"]).query)["state"][0]
    with fresh(app) as victim:
        back = f"/api/account/callback?code=stolen&state={state}"
        assert victim.get(back).headers["location"].endswith("/sign-in?failed=refused")
        begun(victim)  # with a state of its own
        assert victim.get(back).headers["location"].endswith("/sign-in?failed=refused")
        assert victim.get("/api/account").json() == {"user": None}


def test_the_provider_gets_a_challenge_and_no_secret(app: httpx.Client) -> None:
    with fresh(app) as client:
        location = begun(client).headers["location"]
        again = parse_qs(urlsplit(begun(client).headers["location"]).query)
    query = parse_qs(urlsplit(location).query)
    assert query["redirect_uri"] == [f"{str(app.base_url).rstrip('/')}/api/account/callback"]
    assert query["code_challenge_method"] == ["S256"] and SECRET not in location
    assert all(query[name] != again[name] for name in ("state", "nonce", "code_challenge"))


def test_with_tls_a_neighbouring_site_cannot_plant_the_cookie(web: Web, issuer: dict[str, str]) -> None:
    app = web(issuer | {"WEB_URL": "https://studio.example", "WEB_HOSTS": "studio.example"})
    with fresh(app) as client:
        cookie = begun(client, host="studio.example").headers["set-cookie"]
        assert cookie.startswith("__Host-producer-twin-")
        attributes = {part.strip().lower() for part in cookie.split(";")[1:]}
        assert {"secure", "httponly", "samesite=lax", "path=/"} <= attributes
        assert not any(part.startswith("domain") for part in attributes)
        assert client.post("/api/account/sign-out", json={}, headers=PUBLIC).status_code == 200
        for origin in ("http://studio.example", "https://studio.example:8443", "https://x.studio.example"):
            error_of(client.post("/api/account/sign-out", json={}, headers=PUBLIC | {"origin": origin}), 403)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"AUTH_CLIENT_ID": ""}, "AUTH_CLIENT_ID"),
        ({"SESSION_SECRET": ""}, "SESSION_SECRET"),
        ({"SESSION_SECRET": "short"}, "SESSION_SECRET"),
        ({"AUTH_ISSUER": "", "NEXT_PUBLIC_SUPABASE_URL": "http://127.0.0.1:1"}, "NEXT_PUBLIC_SUPABASE_ANON_KEY"),
    ],
)
def test_a_setting_that_is_missing_opens_nothing(
    web: Web, issuer: dict[str, str], stand_in: StandIn, changes: dict[str, str], named: str
) -> None:
    app = web(stand_in.environment | issuer | changes)
    with fresh(app) as client:
        assert named in error_of(client.post("/api/artist/generate", json=BODY), 503)
    assert stand_in.seen == []


def test_a_provider_that_does_not_answer_is_said_on_the_page(web: Web, issuer: dict[str, str]) -> None:
    app = web(issuer | {"AUTH_ISSUER": "http://127.0.0.1:1"})
    with fresh(app) as client:
        answer = client.get("/api/account/sign-in")
        assert answer.headers["location"] == f"{str(app.base_url).rstrip('/')}/sign-in?failed=away"


def test_without_sign_in_nothing_of_it_is_there(original: httpx.Client) -> None:
    for path in ("/sign-in", "/sign-in/new-password", "/api/account/sign-in", "/api/account/callback"):
        assert original.get(path).status_code == 404
    assert original.get("/api/account").json() == {"user": None}
    for method, path in (("GET", "/producers"), ("PUT", "/producers/a"), ("GET", "/producers/a/usage")):
        error_of(original.request(method, f"/api/service{path}"), 404)


@pytest.mark.parametrize(
    ("settings", "named"),
    [({"WEB_HOSTS": "studio.example"}, "WEB_URL"), ({"WEB_URL": "http://studio.example"}, "WEB_URL")],
)
def test_it_does_not_start_where_cookies_would_go_unprotected(settings: dict[str, str], named: str) -> None:
    environment = {"WEB_PORT": str(free_port()), "AUTH_ISSUER": "https://issuer.example", **settings}
    ended = subprocess.run(
        ["node", "server.mjs"], cwd=WEB, env=os.environ | environment, capture_output=True, text=True, timeout=300
    )
    assert ended.returncode != 0 and named in ended.stderr
