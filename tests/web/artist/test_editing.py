"""Editing: a part of a track anew, a longer track, a cover; each is a child of the track, compared with it in place."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tests.api import Api
from tests.conftest import Twin
from tests.web.artist.conftest import Make
from tests.web.artist.everywhere import accessible_everywhere, drag, player, position


@pytest.fixture(scope="module")
def track(make: Make) -> str:
    return make("galah melody", duration_seconds=10, seed=5, bpm=120)


def edits(page: Page) -> Locator:
    return page.get_by_role("list", name="Edits").get_by_role("listitem")


def only_edit(api: Api, parent: str, task: str) -> dict[str, Any]:
    (found,) = [each for each in api.get("/tracks", parent=parent)["tracks"] if each["task"] == task]
    edit: dict[str, Any] = found
    return edit


def test_a_region_is_made_anew_with_another_prompt_twin_and_seed(
    page: Page, studio: httpx.Client, api: Api, track: str, twins: dict[str, Twin]
) -> None:
    page.goto(f"{studio.base_url}/track/{track}")
    expect(page.get_by_role("button", name="Replace this part")).to_be_visible()
    expect(player(page).locator(".wave div").first).to_be_attached()
    drag(page, 0.4, 0.6)
    expect(page.get_by_label("From second")).to_have_value(re.compile(r"^(3\.9|4\.)"))
    page.get_by_label("To second").fill("6.5")
    expect(player(page).get_by_text("Selected: 0:04 to 0:07")).to_be_visible()
    form = page.get_by_role("form", name="Edit")
    form.get_by_label("Prompt").fill("drum fill")
    form.get_by_label("Twin").select_option(twins["ace_step"].lora_id)
    form.get_by_label("Seed").fill("42")
    accessible_everywhere(page)
    page.get_by_role("button", name="Replace this part").click()
    expect(edits(page).filter(has_text="Repainted part")).to_be_visible()
    made = only_edit(api, track, "repaint")
    assert (made["prompt"], made["seed"], made["parent"], made["bpm"]) == ("drum fill", 42, track, 120)
    assert made["twins"][0]["lora_id"] == twins["ace_step"].lora_id
    assert made["options"]["start"] == pytest.approx(4, abs=0.1) and made["options"]["end"] == 6.5

    edits(page).filter(has_text="Repainted part").get_by_role("button", name="A/B").click()
    expect(player(page).get_by_role("button", name="A/B: B")).to_be_visible()
    expect(player(page).get_by_role("link", name="drum fill")).to_be_visible()
    expect(player(page).get_by_role("slider")).to_have_attribute("aria-valuenow", re.compile("^[2-9]$"))
    accessible_everywhere(page)
    page.get_by_role("list", name="Edits").get_by_role("link", name="drum fill").click()
    expect(page.get_by_role("list", name="Made from").get_by_role("link", name="galah melody")).to_be_visible()


def test_a_track_is_extended_to_the_left_and_compared_at_the_same_music(
    page: Page, studio: httpx.Client, api: Api, track: str
) -> None:
    page.goto(f"{studio.base_url}/track/{track}")
    page.get_by_label("The length").check()
    page.get_by_label("Seconds before").fill("3")
    page.get_by_label("Seconds after").fill("")
    page.get_by_role("button", name="Make it longer").click()
    extended = edits(page).filter(has_text="Extended")
    expect(extended).to_contain_text("0:13")
    made = only_edit(api, track, "extend")
    assert made["options"]["before"] == 3 and "after" not in made["options"]
    extended.get_by_role("button", name="A/B").click()
    bar = player(page)
    expect(bar.get_by_text("Both are equally loud.")).to_be_visible()
    bar.get_by_role("slider").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Space")
    expect(bar.get_by_role("button", name="Play", exact=True)).to_be_visible()
    before = position(page)
    bar.get_by_role("button", name="A/B: B").click()
    expect(bar.get_by_role("slider")).to_have_attribute("aria-valuenow", str(before - 3))


def test_a_cover_follows_as_strongly_as_one_says(page: Page, studio: httpx.Client, api: Api, track: str) -> None:
    page.goto(f"{studio.base_url}/track/{track}")
    page.get_by_label("The whole").check()
    slider = page.get_by_role("slider", name="Follow the original")
    slider.focus()
    slider.press("ArrowRight")
    page.get_by_role("button", name="Make a cover").click()
    expect(edits(page).filter(has_text="Cover")).to_be_visible()
    assert only_edit(api, track, "cover")["options"]["strength"] == 0.75


def test_what_an_edit_lacks_is_said(page: Page, studio: httpx.Client, make: Make) -> None:
    page.goto(f"{studio.base_url}/track/{make('brolga bells')}")
    page.get_by_role("button", name="Replace this part").click()
    expect(page.get_by_label("From second")).to_be_focused()
    expect(page.get_by_label("From second")).to_have_attribute("aria-invalid", "true")


def test_a_backend_that_is_not_ready_says_so_and_is_asked_again(page: Page, studio: httpx.Client, make: Make) -> None:
    track = make("brolga drone")

    def loading(route: Route) -> None:
        answer = route.fetch()
        facts = {"ready": False, "reason": "its model is being loaded", "tasks": []}
        route.fulfill(response=answer, json={"backends": [row | facts for row in answer.json()["backends"]]})

    page.route("**/api/service/backends", loading)
    page.goto(f"{studio.base_url}/track/{track}")
    expect(page.get_by_text("cannot serve now: its model is being loaded")).to_be_visible()
    page.unroute("**/api/service/backends")
    expect(page.get_by_role("button", name="Replace this part")).to_be_visible()
