"""The library and a track's page: to find, like, rename, share and delete tracks, and to see what made them."""

from __future__ import annotations

import re
from datetime import datetime
from urllib.parse import quote
from zoneinfo import ZoneInfo

import httpx
from playwright.sync_api import Browser, Locator, Page, Route, expect

from tests.api import Api
from tests.conftest import PASSWORD, Twin
from tests.web.artist.conftest import Make
from tests.web.artist.everywhere import accessible_everywhere
from tests.web.conftest import GUARDED, Web


def rows(page: Page) -> Locator:
    return (
        page.get_by_role("list", name="Tracks", exact=True).get_by_role("listitem").filter(has=page.get_by_role("link"))
    )


def choose(page: Page, row: Locator, action: str) -> None:
    """Choose an action of the row's menu."""
    row.get_by_text("More", exact=True).click()
    row.get_by_role("button", name=action).click()


def test_tracks_are_found_by_words_by_twin_and_by_likes(
    page: Page, studio: httpx.Client, make: Make, twins: dict[str, Twin]
) -> None:
    make("pangolin house")
    make("pangolin techno", lora_id=twins["ace_step"].lora_id)
    make("dugong techno")
    page.goto(f"{studio.base_url}/library")
    expect(rows(page).nth(0)).to_contain_text("dugong techno")
    expect(rows(page).nth(1)).to_contain_text("pangolin techno")
    page.get_by_label("Search").fill("pangolin")
    expect(rows(page)).to_have_count(2)
    page.get_by_label("Twin").select_option(twins["ace_step"].lora_id)
    expect(rows(page)).to_have_count(1)
    expect(rows(page)).to_contain_text("pangolin techno")
    page.get_by_label("Liked only").check()
    expect(page.get_by_text("No track matches.")).to_be_visible()
    page.get_by_label("Liked only").uncheck()
    rows(page).get_by_role("button", name="Like pangolin techno").click()
    expect(rows(page).get_by_role("button", name="Like pangolin techno")).to_have_attribute("aria-pressed", "true")
    page.reload()
    expect(page.get_by_label("Search")).to_have_value("pangolin")
    page.get_by_label("Liked only").check()
    expect(rows(page)).to_have_count(1)
    accessible_everywhere(page)


def test_more_tracks_come_as_one_scrolls(page: Page, studio: httpx.Client, make: Make) -> None:
    for number in range(3):
        make(f"mulgara {number}", duration_seconds=0.2)

    def small(route: Route) -> None:
        route.continue_(url=f"{route.request.url}&limit=2")

    page.route(re.compile(r"/api/service/tracks\?"), small)
    page.goto(f"{studio.base_url}/library?text=mulgara")
    expect(rows(page)).to_have_count(3)


def test_a_track_is_renamed_shared_and_deleted(page: Page, studio: httpx.Client, api: Api, make: Make) -> None:
    track = make("planigale drums")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(f"{studio.base_url}/library?text=planigale")
    choose(page, rows(page), "Rename")
    page.get_by_label("Title").fill("Night drive")
    page.get_by_role("button", name="Save").click()
    expect(rows(page).get_by_role("link", name="Night drive")).to_be_visible()
    assert api.get(f"/tracks/{track}")["title"] == "Night drive"
    choose(page, rows(page), "Copy link")
    expect(rows(page).get_by_role("status")).to_have_text("Link copied")
    assert page.evaluate("navigator.clipboard.readText()") == f"{studio.base_url}/track/{track}"
    choose(page, rows(page), "Delete")
    expect(page.get_by_role("dialog")).to_contain_text("Night drive")
    accessible_everywhere(page)
    page.get_by_role("button", name="Cancel").click()
    choose(page, rows(page), "Delete")
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_text("No track matches.")).to_be_visible()
    assert api.client.get(f"/tracks/{track}").status_code == 404


def test_a_track_has_a_page_with_all_that_made_it(
    page: Page, studio: httpx.Client, api: Api, make: Make, twins: dict[str, Twin]
) -> None:
    twin = twins["ace_step"].lora_id
    track = make("pademelon garage", lora_id=twin, bpm=140, key="A minor", guidance=3, seed=11)
    make("pademelon garage", lora_id=twin, bpm=140, key="A minor", guidance=3, seed=12)
    html = studio.get(f"/track/{quote(track)}").text
    tags = dict(re.findall(r'<meta property="(og:[a-z:]+)" content="([^"]*)"', html))
    assert tags["og:type"] == "music.song"
    assert tags["og:title"] == "pademelon garage"
    assert twin in tags["og:description"]
    assert tags["og:url"] == f"{studio.base_url}/track/{track}"
    assert studio.get(tags["og:audio"]).headers["content-type"].startswith("audio/")
    picture = studio.get(tags["og:image"])
    assert picture.headers["content-type"] == "image/png" and picture.content.startswith(b"\x89PNG")

    page.goto(f"{studio.base_url}/track/{track}")
    facts = page.get_by_role("region", name="How it was made")
    version = api.get(f"/tracks/{track}")["twins"][0]["version"]
    for fact in (twin, version[:8], "140 bpm", "A minor", "11", "Guidance", "ace_step"):
        expect(facts).to_contain_text(fact)
    expect(page.get_by_role("list", name="Other takes").get_by_text("seed 12")).to_be_visible()
    accessible_everywhere(page)
    page.get_by_role("button", name="Make it again, or change it").click()
    expect(page.get_by_label("Prompt")).to_have_value("pademelon garage")
    expect(page.get_by_label("Seed")).to_have_value("11")
    expect(page.get_by_label(f"Version of {twin}")).to_have_value(version)


def test_there_is_no_page_of_a_track_that_is_not_there(page: Page, studio: httpx.Client) -> None:
    answer = page.goto(f"{studio.base_url}/track/base:nothing")
    assert answer is not None and answer.status == 404
    expect(page.get_by_role("heading", name="There is no such page")).to_be_visible()


def test_the_library_asks_for_the_password(page: Page, web: Web, api: Api, make: Make) -> None:
    make("kowari pads")
    app = web({"MUSIC_SERVICE_URL": api.server.url} | GUARDED)
    page.goto(f"{app.base_url}/library?text=kowari")
    field = page.get_by_label("Password")
    field.fill("wrong")
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_text("This password is wrong.")).to_be_visible()
    expect(field).to_be_focused()
    accessible_everywhere(page)
    field.fill(PASSWORD)
    page.get_by_role("button", name="Continue").click()
    expect(rows(page)).to_have_count(1)


def test_the_list_is_fetched_again_when_the_service_is_back(page: Page, studio: httpx.Client, make: Make) -> None:
    make("phascogale bass")
    page.route("**/api/service/tracks?**", lambda route: route.abort())
    page.goto(f"{studio.base_url}/library?text=phascogale")
    expect(page.get_by_role("alert").filter(has_text="does not answer")).to_be_visible()
    page.unroute("**/api/service/tracks?**")
    expect(rows(page)).to_have_count(1)
    expect(page.get_by_role("alert").filter(has_text="does not answer")).to_have_count(0)


def test_times_are_those_of_the_visitors_clock(browser: Browser, studio: httpx.Client, api: Api, make: Make) -> None:
    track = make("kiwi bass", duration_seconds=0.2)
    made = datetime.fromisoformat(api.get(f"/tracks/{track}")["created_at"])
    context = browser.new_context(timezone_id="Pacific/Chatham", locale="en")
    page = context.new_page()
    there = made.astimezone(ZoneInfo("Pacific/Chatham")).strftime("%-I:%M")
    for path in ("/library?text=kiwi", f"/track/{track}"):
        page.goto(f"{studio.base_url}{path}")
        expect(page.locator("main time").first).to_contain_text(there)
    context.close()
