"""The web app with sign-in in front of a service whose users sign in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Request, expect

from scripts.web import bound, serving_web
from storage import Storage, open_storage
from tests.api import ACE_STEP_ONLY, Api, running
from tests.conftest import IS_WEB, KNOWS_WEB
from tests.web.sign_in.provider import AUDIENCE, Provider, served_provider

HIDDEN = "secret:night"  # a private twin, which the app's key would see


@dataclass(frozen=True)
class SignInApp:
    """The app by OpenID Connect.

    Attributes:
        url: its origin.
        provider: where its users sign in.
        service: what it stands in front of; it serves anonymous people too.
    """

    url: str
    provider: Provider
    service: Api

    @property
    def storage(self) -> Storage:
        return open_storage(self.service.folder.as_uri())


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory, tiny: dict[str, str]) -> Iterator[SignInApp]:
    listening = bound()
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    with listening, served_provider(url) as provider:
        auth = {"AUTH_ISSUER": provider.url, "AUTH_AUDIENCE": AUDIENCE, "ALLOW_ANONYMOUS": "true"}
        folder = tmp_path_factory.mktemp("sign-in")
        with running(folder, tiny | ACE_STEP_ONLY | KNOWS_WEB | auth, backends=("ace_step",)) as service:
            # The key is in its environment, and must have no effect.
            environment = IS_WEB | provider.environment | {"MUSIC_SERVICE_URL": service.server.url}
            with serving_web(environment, listening, folder / "web.log"):
                yield SignInApp(url, provider, service)


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A browser without cookies."""
    context = browser.new_context()
    context.route("**/*googleapis.com/**", lambda route: route.abort())  # the provider's pages name fonts
    context.set_default_timeout(60_000)
    expect.set_options(timeout=60_000)
    yield context
    context.close()


def sign_in(context: BrowserContext, app: SignInApp, user: str, path: str = "/producer") -> Page:
    """Sign in from a page, as a user does, and come back to it."""
    page = context.new_page()
    page.goto(app.url + path)
    page.locator("header").get_by_role("link", name="Sign in").click()
    page.get_by_role("link", name="Go on to sign in").click()
    page.get_by_placeholder("Enter any login").fill(user)
    page.get_by_placeholder("and password").fill("any")
    page.get_by_role("button", name="Sign-in").click()
    page.get_by_role("button", name="Continue").click()
    page.wait_for_url(app.url + path)
    expect(page.get_by_role("group", name="Account")).to_contain_text(user)
    return page


def requests_of(context: BrowserContext) -> list[Request]:
    """The requests that the browser sends from now on."""
    sent: list[Request] = []
    context.on("request", lambda request: sent.append(request))
    return sent


def client_of(context: BrowserContext, url: str) -> httpx.Client:
    """A client that sends the browser's cookies as they are now."""
    held = {each["name"]: each["value"] for each in context.cookies(url)}
    header = "; ".join(f"{name}={value}" for name, value in held.items())
    return httpx.Client(base_url=url, headers={"cookie": header}, timeout=60, trust_env=False)
