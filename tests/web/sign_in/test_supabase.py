"""Signing in by Supabase: the real app, the service's routes and a real browser.

tests/web/sign_in/supabase.py stands in for Supabase: it follows the documented REST API, and is not Supabase itself.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import uvicorn
from playwright.sync_api import BrowserContext, Page, expect

from scripts.web import serving_web
from storage import open_storage
from storage.producers import Owner, Producers
from tests.api import error_of
from tests.conftest import IS_WEB
from tests.signed_in import SignedIn
from tests.web.sign_in.conftest import client_of
from tests.web.sign_in.supabase import ANON_KEY, Supabase, User, served_supabase
from tests.web.test_pages import accessible

EMAIL = "ada@music.example"
MAX_ATTEMPTS = 60  # more than these tests need of one address


@dataclass(frozen=True)
class SupabaseApp:
    """The app by Supabase.

    Attributes:
        url: its origin.
        project: where its users sign in.
        service: what it stands in front of.
    """

    url: str
    project: Supabase
    service: SignedIn

    def user(self, email: str) -> None:
        """Make an account with the password `secret`."""
        self.project.users[email] = User(email.partition("@")[0], email, "secret", confirmed=True)


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SupabaseApp]:
    folder: Path = tmp_path_factory.mktemp("supabase")
    with served_supabase() as project, socket.create_server(("127.0.0.1", 0)) as listener:
        service = SignedIn(project.issuer, open_storage((folder / "data").as_uri()), folder)
        server = uvicorn.Server(uvicorn.Config(service.app, lifespan="off", log_level="warning"))
        serving = threading.Thread(target=server.run, args=([listener],), daemon=True)
        serving.start()
        environment = IS_WEB | {
            "NEXT_PUBLIC_SUPABASE_URL": project.url,
            "NEXT_PUBLIC_SUPABASE_ANON_KEY": ANON_KEY,
            "AUTH_ISSUER": project.issuer.url,  # as the service has it
            "MUSIC_SERVICE_URL": f"http://127.0.0.1:{listener.getsockname()[1]}",
            "SIGN_IN_ATTEMPTS_PER_MINUTE": str(MAX_ATTEMPTS),
            "WEB_TRUSTED_PROXIES": "1",
        }
        with serving_web(environment, log=folder / "web.log") as url:
            yield SupabaseApp(url, project, service)
        server.should_exit = True
        serving.join(10)


def fill(page: Page, **fields: str) -> None:
    for name, value in fields.items():
        page.locator(f"input[name={name}]").fill(value)
    page.locator("form button.primary").click()


def sign_in(context: BrowserContext, app: SupabaseApp, email: str, path: str = "/") -> Page:
    page = context.new_page()
    page.goto(f"{app.url}/sign-in?next={path}")
    fill(page, email=email, password="secret")
    page.wait_for_url(app.url + path)
    expect(page.get_by_role("group", name="Account")).to_contain_text(email)
    return page


def test_an_account_from_its_beginning_to_a_new_password(context: BrowserContext, app: SupabaseApp) -> None:
    page = context.new_page()
    page.goto(f"{app.url}/sign-in?next=/producer")
    accessible(page)
    page.get_by_role("button", name="Create an account").click()
    fill(page, email=EMAIL, password="short")
    expect(page.get_by_text("at least 6 characters")).to_be_visible()
    fill(page, email=EMAIL, password="a good one")
    expect(page.get_by_text("We sent you an e-mail.")).to_be_visible()
    page.goto(app.project.links[-1])
    page.wait_for_url(f"{app.url}/producer")
    account = page.get_by_role("group", name="Account")
    expect(account).to_contain_text(EMAIL)
    page.get_by_label("Claim your producer id").fill("ada")
    page.get_by_role("button", name="Claim it").click()
    expect(page.get_by_label("Your producer", exact=True)).to_have_value("ada")
    accessible(page)
    record = Producers(app.service.storage).find("ada")
    assert record and record.is_owned_by(Owner(app.project.issuer.url, app.project.users[EMAIL].id))

    account.get_by_role("button", name="Sign out").click()
    page.wait_for_url(f"{app.url}/")
    page.locator("header").get_by_role("link", name="Sign in").click()
    fill(page, email=EMAIL, password="a wrong one")
    expect(page.get_by_text("Invalid login credentials")).to_be_visible()

    page.get_by_role("button", name="Forgot your password?").click()
    fill(page, email="nobody@music.example")
    expect(page.get_by_text("If this address has an account")).to_be_visible()
    before = len(app.project.links)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.get_by_role("button", name="Forgot your password?").click()
    fill(page, email=EMAIL)
    expect(page.get_by_text("If this address has an account")).to_be_visible()
    (link,) = app.project.links[before:]
    page.goto(link)
    page.wait_for_url(f"{app.url}/sign-in/new-password")
    fill(page, password="a better one")
    page.wait_for_url(f"{app.url}/")
    assert app.project.users[EMAIL].password == "a better one"


def test_no_token_reaches_a_page(context: BrowserContext, app: SupabaseApp) -> None:
    app.user("bob@music.example")
    page = sign_in(context, app, "bob@music.example")
    cookies = context.cookies(app.url)
    assert cookies and all(each["httpOnly"] and each["sameSite"] == "Lax" for each in cookies)
    assert page.evaluate("document.cookie + JSON.stringify({...localStorage, ...sessionStorage})") == "{}"
    said = client_of(context, app.url).get("/api/account")
    assert said.json() == {"user": {"name": "bob@music.example"}} and said.headers["cache-control"] == "no-store"


def test_a_session_is_renewed(context: BrowserContext, app: SupabaseApp) -> None:
    app.user("carol@music.example")
    app.project.lifetime = 60  # Supabase's client renews tokens 90 s before they expire
    try:
        page = sign_in(context, app, "carol@music.example")
        before, cookie = app.project.asked["/token refresh_token"], context.cookies(app.url)
        status = "fetch('/api/service/producers').then((answer) => answer.status)"
        assert page.evaluate(status) == 200
        assert app.project.asked["/token refresh_token"] > before and context.cookies(app.url) != cookie
        assert page.evaluate(f"Promise.all([...Array(5)].map(() => {status}))") == [200] * 5
        assert page.evaluate(status) == 200
    finally:
        app.project.lifetime = 3600


def test_signing_out_ends_the_session(context: BrowserContext, app: SupabaseApp) -> None:
    app.user("dora@music.example")
    page = sign_in(context, app, "dora@music.example")
    page.get_by_role("button", name="Sign out").click()
    expect(page.locator("header").get_by_role("link", name="Sign in")).to_be_visible()
    assert context.cookies(app.url) == []
    assert not any(user.id == "dora" for user, _ in app.project.sessions.values())


def test_the_next_user_of_a_browser_sees_nothing_of_the_last_ones_work(
    context: BrowserContext, app: SupabaseApp
) -> None:
    for name in ("hans", "ines"):
        app.user(f"{name}@music.example")
    page = sign_in(context, app, "hans@music.example")
    page.get_by_label("Prompt").fill("a tune of Hans")
    page.reload()
    expect(page.get_by_label("Prompt")).to_have_value("a tune of Hans")
    page.get_by_role("button", name="Sign out").click()
    expect(page.locator("header").get_by_role("link", name="Sign in")).to_be_visible()
    expect(page.get_by_label("Prompt")).to_have_value("")
    assert page.evaluate("JSON.stringify({...localStorage, ...sessionStorage})") == "{}"
    # A session that ends without a sign-out.
    page = sign_in(context, app, "hans@music.example")
    page.get_by_label("Prompt").fill("a tune of Hans")
    context.clear_cookies()
    page = sign_in(context, app, "ines@music.example")
    expect(page.get_by_label("Prompt")).to_have_value("")
    assert "Hans" not in page.evaluate("JSON.stringify({...localStorage, ...sessionStorage})")


def test_a_link_of_another_browser_signs_nobody_in(context: BrowserContext, app: SupabaseApp) -> None:
    """An attacker's link would otherwise sign a victim in as the attacker."""
    app.user("eve@music.example")
    with httpx.Client(base_url=app.url, timeout=60, trust_env=False) as eve:
        assert eve.post("/api/account/reset", json={"email": "eve@music.example"}).status_code == 200
    page = context.new_page()
    page.goto(app.project.links[-1])
    page.wait_for_url(f"{app.url}/sign-in?failed=refused")
    expect(page.get_by_text("You were not signed in.")).to_be_visible()
    assert client_of(context, app.url).get("/api/account").json() == {"user": None}


NEXT = {
    "/producer": "/producer",
    "/?a=1#twin=ada:night": "/?a=1#twin=ada:night",
    **dict.fromkeys(
        [
            *("//evil.example", "https://evil.example", "/\\evil.example", "\\\\evil.example", "/\t/evil.example"),
            *("/.//evil.example", "/x/..//evil.example", "javascript:alert(1)", "evil.example", "/\n/evil.example"),
            *("/api/account/sign-out", "http:evil.example", "//evil.example:80/x", "/" + "x" * 2000, ""),
        ],
        "/",
    ),
}


@pytest.mark.parametrize("wanted", NEXT)
def test_after_signing_in_a_user_stays_on_this_site(app: SupabaseApp, wanted: str) -> None:
    app.user("finn@music.example")
    fields = {"email": "finn@music.example", "password": "secret", "next": wanted}
    with httpx.Client(base_url=app.url, timeout=60, trust_env=False) as client:
        assert client.post("/api/account/sign-in", json=fields).json() == {"next": NEXT[wanted]}


def test_another_sites_page_does_nothing_by_a_users_cookie(context: BrowserContext, app: SupabaseApp) -> None:
    app.user("gil@music.example")
    sign_in(context, app, "gil@music.example")
    client = client_of(context, app.url)
    port = httpx.URL(app.url).port
    for headers in (
        {},
        {"origin": "null"},
        {"origin": "http://evil.example"},
        {"origin": f"https://127.0.0.1:{port}"},
        {"origin": "http://127.0.0.1:1"},
        {"origin": f"http://127.0.0.1:{port}.evil.example"},
        {"sec-fetch-site": "same-site"},
        {"origin": app.url, "sec-fetch-site": "cross-site"},
    ):
        for method, path in (("PUT", "/api/service/producers/gil"), ("POST", "/api/account/sign-out")):
            assert "another site" in error_of(client.request(method, path, json={}, headers=headers), 403)
    assert Producers(app.service.storage).find("gil") is None
    assert client.put("/api/service/producers/gil", json={}, headers={"origin": app.url}).status_code == 200
    # Signing a visitor in as another user is one, too, without any cookie.
    fields = {"email": "gil@music.example", "password": "secret"}
    with httpx.Client(base_url=app.url, timeout=60, trust_env=False) as evil:
        refused = evil.post("/api/account/sign-in", json=fields, headers={"origin": "http://evil.example"})
        error_of(refused, 403)


def test_while_supabase_is_away_valid_sessions_go_on(context: BrowserContext, app: SupabaseApp) -> None:
    app.user("hal@music.example")
    sign_in(context, app, "hal@music.example")
    client = client_of(context, app.url)
    answer, app.project.answer = app.project.answer, lambda *_: (500, {}, {})  # type: ignore[method-assign]
    try:
        start = time.monotonic()
        assert client.get("/api/service/producers").status_code == 200
        assert time.monotonic() - start < 20
    finally:
        app.project.answer = answer  # type: ignore[method-assign]


@pytest.mark.parametrize("action", ["sign-in", "sign-up", "reset"])
def test_each_visitor_has_a_limit_of_attempts(app: SupabaseApp, action: str) -> None:
    number = ["sign-in", "sign-up", "reset"].index(action)
    visitor, neighbour = f"2001:db8:{number}::1", f"2001:db8:{number}:0:5::9"
    fields = {"email": "ivo@music.example", "password": "a wrong one"}
    with httpx.Client(base_url=app.url, timeout=60, trust_env=False) as client:

        def attempt(address: str) -> httpx.Response:
            headers = {"x-forwarded-for": address, "origin": app.url}
            return client.post(f"/api/account/{action}", json=fields, headers=headers)

        statuses = {attempt(visitor).status_code for _ in range(MAX_ATTEMPTS)}
        assert 429 not in statuses
        asked = app.project.asked.total()
        refused = attempt(neighbour)  # of the same network
        assert "too many attempts" in error_of(refused, 429) and 0 < int(refused.headers["retry-after"]) <= 60
        assert app.project.asked.total() == asked
        assert attempt(f"2001:db8:{number + 10}::1").status_code != 429


def test_a_page_that_is_not_there_has_the_way_to_sign_in(context: BrowserContext, app: SupabaseApp) -> None:
    """The app was built without sign-in: its settings are read when it runs."""
    page = context.new_page()
    page.goto(f"{app.url}/nothing")
    expect(page.locator("header").get_by_role("link", name="Sign in")).to_be_visible()
