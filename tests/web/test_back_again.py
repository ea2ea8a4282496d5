"""A service that is away, or takes requests and never answers: each page says so, and goes on when it is back."""

from __future__ import annotations

import re

import httpx
import pytest
from playwright.sync_api import Page, Route, expect

from tests.api import Api
from tests.web.artist.test_making import request, start, takes
from tests.web.artist.test_under_way import SUBMIT, named
from tests.web.producer.conftest import open_page
from tests.web.producer.facts import version
from tests.web.producer.service import Service
from tests.web.test_pages import PAGES, accessible

HUNG = "The music service does not answer. Try again later."
# Pages wait 15 s for an answer.
SOONER = """(() => {
  const timeout = AbortSignal.timeout;
  AbortSignal.timeout = (milliseconds) => timeout.call(AbortSignal, milliseconds / 5);
})()"""


def never(route: Route) -> None:
    """Leaves a request without an answer."""


@pytest.mark.parametrize("path", PAGES)
def test_lists_of_a_service_that_hangs(page: Page, studio: httpx.Client, path: str) -> None:
    lists = re.compile(r"/api/service/(loras|tracks|jobs)\b")
    page.add_init_script(SOONER)
    page.route(lists, never)
    page.goto(f"{studio.base_url}{path}")
    if path == "/producer":
        page.get_by_label("Producer id").fill("ada")
    alert = page.get_by_role("alert").filter(has_text=HUNG)
    expect(alert).to_be_visible()
    accessible(page)
    page.unroute(lists)
    expect(alert).to_have_count(0)


def test_a_request_that_is_never_answered(page: Page, studio: httpx.Client, api: Api) -> None:
    page.add_init_script(SOONER)
    page.route(SUBMIT, never)
    start(page, studio, "pardalote drums")
    page.get_by_role("button", name="Make a take").click()
    card = request(page, 1)
    expect(card.get_by_role("alert")).to_have_text(HUNG)
    page.unroute(SUBMIT)
    card.get_by_role("button", name="Try again").click()
    expect(takes(card)).to_have_count(1)
    assert len(named(api, "pardalote drums")) == 1


def test_the_versions_of_a_twin(page: Page, alone: httpx.Client) -> None:
    service = Service(versions=[version(2), version(1, current=True)])
    service.serve(page)
    page.route("**/versions", lambda route: route.abort())
    open_page(page, f"{alone.base_url}/producer")
    twin = page.get_by_role("listitem", name="Twin ada:night")
    expect(twin.get_by_role("alert").filter(has_text="does not answer")).to_be_visible()
    page.unroute("**/versions")
    expect(twin.get_by_role("button", name=re.compile("^Listen"))).to_have_count(2)
    expect(twin.get_by_role("alert").filter(has_text="does not answer")).to_have_count(0)


def test_the_family_of_a_track(page: Page, studio: httpx.Client, api: Api) -> None:
    path = api.post("/generate", prompt="pardalote bells", duration_seconds=1, response="url")["output_path"]
    track = path.removeprefix("/data/outputs/").rpartition(".")[0].replace("/", ":")
    page.route("**/api/service/tracks?**", lambda route: route.abort())
    page.goto(f"{studio.base_url}/track/{track}")
    family = page.get_by_role("region", name="Family")
    expect(family.get_by_role("alert").filter(has_text="does not answer")).to_be_visible()
    expect(family.get_by_text("appear here")).to_have_count(0)
    page.unroute("**/api/service/tracks?**")
    expect(family.get_by_text("appear here")).to_be_visible()
    expect(family.get_by_role("alert").filter(has_text="does not answer")).to_have_count(0)


def test_the_page_of_a_track(page: Page, alone: httpx.Client) -> None:
    page.goto(f"{alone.base_url}/track/base:bell")
    expect(page.get_by_text(HUNG)).to_be_visible()
    with page.expect_request(re.compile(r"/track/base:bell\?_rsc=")):
        pass
