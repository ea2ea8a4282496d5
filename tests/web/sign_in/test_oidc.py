"""Signing in by a real OpenID Connect provider: the real app, the real service, and a real browser."""

from __future__ import annotations

import base64
import json
import re
from urllib.parse import parse_qs, urlsplit

import httpx
from playwright.sync_api import Browser, BrowserContext, expect

from storage.producers import Owner, Producers
from tests.api import error_of, wait_until
from tests.signed_in import store_twin
from tests.web.sign_in.conftest import HIDDEN, SignInApp, client_of, requests_of, sign_in

SESSION = "producer-twin-session"
TOKEN = re.compile(r"eyJ[\w-]+\.[\w-]+\.")


def test_a_user_signs_in_claims_an_id_and_opens_a_twin_by_link(
    context: BrowserContext, browser: Browser, app: SignInApp
) -> None:
    page = context.new_page()
    page.goto(f"{app.url}/producer")
    expect(page.get_by_text("You are not signed in.")).to_be_visible()
    expect(page.get_by_label("Password")).to_have_count(0)
    page.close()

    sent = requests_of(context)
    page = sign_in(context, app, "ada")
    (asked,) = (parse_qs(urlsplit(each.url).query) for each in sent if urlsplit(each.url).path == "/auth")
    assert asked["code_challenge_method"] == ["S256"] and asked["response_type"] == ["code"]
    assert asked["state"] and asked["nonce"] and asked["code_challenge"]

    page.get_by_label("Claim your producer id").fill("ada")
    page.get_by_role("button", name="Claim it").click()
    expect(page.get_by_label("Your producer", exact=True)).to_have_value("ada")
    record = Producers(app.storage).find("ada")
    assert record and record.is_owned_by(Owner(app.provider.url, "ada"))

    store_twin(app.storage, "ada", "night")
    page.reload()
    twin = page.get_by_role("listitem", name="Twin ada:night")
    who = twin.get_by_label("Who may make tracks with it")
    expect(who).to_have_value("private")
    who.select_option("link")
    link = twin.get_by_label("Its link").input_value()
    assert link.startswith(f"{app.url}/#")

    visitor = browser.new_context()
    other = visitor.new_page()
    other.goto(f"{app.url}/")
    other.wait_for_load_state("networkidle")
    expect(other.get_by_label("Twin", exact=True).get_by_role("option", name="ada:night")).to_have_count(0)
    other.goto("about:blank")
    other.goto(link)
    expect(other.get_by_label("Twin", exact=True).get_by_role("option", name="ada:night")).to_have_count(1)
    visitor.close()


def test_no_token_reaches_a_page(context: BrowserContext, app: SignInApp) -> None:
    page = sign_in(context, app, "bob")
    with client_of(context, app.url) as bob:
        for path in ("/", "/producer", "/api/account", "/api/service/producers", "/api/service/loras"):
            answer = bob.get(path)
            assert answer.status_code == 200 and not TOKEN.search(answer.text), path
    (cookie,) = (each for each in context.cookies(app.url) if each["name"].startswith("producer-twin"))
    assert (cookie["name"], cookie["httpOnly"], cookie["sameSite"]) == (SESSION, True, "Lax")
    assert page.evaluate("document.cookie + JSON.stringify({...localStorage, ...sessionStorage})") == "{}"
    assert page.evaluate("fetch('/api/account').then((answer) => answer.json())") == {
        "user": {"name": "bob of the tests"}
    }
    header = cookie["value"].partition(".")[0]
    assert json.loads(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4)))["enc"] == "A256GCM"


def test_tokens_are_renewed_once_for_all_requests_of_a_page(context: BrowserContext, app: SignInApp) -> None:
    app.provider.set_lifetime(31)  # the app renews tokens 30 s before they expire
    try:
        page = sign_in(context, app, "carol")
        for _ in range(2):
            page.wait_for_timeout(1500)
            before, cookie = app.provider.asked("/token"), client_of(context, app.url).headers["cookie"]
            statuses = page.evaluate(
                "Promise.all([...Array(6)].map(() => fetch('/api/service/producers').then((answer) => answer.status)))"
            )
            assert statuses == [200] * 6
            assert client_of(context, app.url).headers["cookie"] != cookie
            assert app.provider.asked("/token") - before in (1, 2)  # a slow machine may need the next renewal
    finally:
        app.provider.set_lifetime(3600)


def test_the_provider_signs_with_a_new_key_while_all_goes_on(
    context: BrowserContext, browser: Browser, app: SignInApp
) -> None:
    page = sign_in(context, app, "dora")
    app.provider.rotate()
    status = "fetch('/api/service/producers').then((answer) => answer.status)"
    assert page.evaluate(status) == 200  # the key before is still published
    later = browser.new_context()
    newer = sign_in(later, app, "emil")
    # The service asks for an unknown key once a minute.
    wait_until(lambda: newer.evaluate(status) == 200, patience=120, pause=2)
    assert page.evaluate(status) == 200
    later.close()


def test_signing_out_ends_the_session_at_the_provider_too(context: BrowserContext, app: SignInApp) -> None:
    app.provider.set_lifetime(31)
    try:
        page = sign_in(context, app, "frida")
        stolen = client_of(context, app.url)
        page.get_by_role("button", name="Sign out").click()
        page.get_by_role("button", name="Yes, sign me out").click()
        page.wait_for_url(f"{app.url}/")
        expect(page.locator("header").get_by_role("link", name="Sign in")).to_be_visible()
        assert [each for each in context.cookies(app.url) if each["name"] == SESSION] == []
        # A copy of the cookie cannot be renewed, long before its token expires.
        wait_until(lambda: stolen.get("/api/account").json() == {"user": None}, patience=15)
    finally:
        app.provider.set_lifetime(3600)


def test_visitors_who_are_not_signed_in_do_not_act_by_the_apps_key(app: SignInApp) -> None:
    store_twin(app.storage, *HIDDEN.split(":"))
    with httpx.Client(base_url=app.url, timeout=120, trust_env=False) as visitor:
        assert HIDDEN not in visitor.get("/api/service/loras").text
        assert visitor.get(f"/api/service/loras/{HIDDEN}").status_code == 404
        assert "sign in" in error_of(visitor.get("/api/service/producers"), 401)
        assert "sign in" in error_of(visitor.put("/api/service/producers/free", json={}), 401)
        training = {"producerId": "secret", "uploadUrls": ["https://music.example/a.wav"]}
        assert "sign in" in error_of(visitor.post("/api/producer/train", json=training), 401)
        body = {"artistId": "a", "loraId": HIDDEN, "prompt": "x", "durationSeconds": 1}
        assert visitor.post("/api/artist/generate", json=body).status_code == 404
