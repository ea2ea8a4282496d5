"""Making tracks: presets, takes side by side, with and without the twin, and what outlives navigation and reload."""

from __future__ import annotations

import re
from typing import Any

import httpx
from playwright.sync_api import Locator, Page, expect

from tests.api import as_base64, beat
from tests.conftest import Twin
from tests.web.artist.everywhere import accessible_everywhere, player
from tests.web.conftest import StandIn

SLOW_SECONDS = "500"  # a track that is under way for a while


def request(page: Page, number: int) -> Locator:
    return page.get_by_role("listitem", name=f"Request {number}", exact=True)


def takes(card: Locator) -> Locator:
    return card.get_by_role("listitem").filter(has_text="Seed")


def start(page: Page, app: httpx.Client, prompt: str, seconds: str = "2") -> None:
    page.goto(str(app.base_url))
    page.get_by_label("Prompt").fill(prompt)
    page.get_by_label("Length in seconds").fill(seconds)


def bodies(page: Page) -> list[Any]:
    """The bodies of requests for tracks, as they are sent."""
    sent: list[Any] = []
    page.on("request", lambda made: sent.append(made.post_data_json) if made.url.endswith("/generate/submit") else None)
    return sent


def test_an_empty_page_shows_what_to_begin_with(page: Page, studio: httpx.Client) -> None:
    page.goto(str(studio.base_url))
    accessible_everywhere(page)
    page.get_by_role("button", name="chill lofi beat").click()
    expect(page.get_by_label("Prompt")).to_be_focused()
    expect(page.get_by_label("Prompt")).to_have_value("chill lofi beat, guitar, mellow drums")
    page.get_by_text("Tempo, key, lyrics").click()
    expect(page.get_by_label("Tempo in bpm")).to_have_value("80")
    expect(page.get_by_label("Key")).to_have_value("F major")


def test_takes_come_side_by_side_with_the_best_first(page: Page, studio: httpx.Client) -> None:
    start(page, studio, "dark trap", "6")
    page.get_by_role("spinbutton", name="Takes").fill("4")
    page.get_by_text("Tempo, key, lyrics").click()
    page.get_by_label("Tempo in bpm").fill("120")
    page.get_by_role("button", name="Make 4 takes").click()
    card = request(page, 1)
    expect(takes(card)).to_have_count(4)
    expect(takes(card).first).to_contain_text("Best")
    found = [re.search(r"\(([\d.]+) % off\)", text) for text in takes(card).all_inner_texts()]
    off = [float(each[1]) for each in found if each]
    assert len(off) >= 2 and off == sorted(off)
    tops = [box["y"] for take in takes(card).all()[:2] if (box := take.bounding_box())]
    assert tops[0] == tops[1], "the takes stand side by side"
    accessible_everywhere(page)
    takes(card).nth(1).get_by_role("button", name=re.compile("^Play")).click()
    takes(card).nth(2).get_by_role("button", name=re.compile("^A.B")).click()
    expect(player(page).get_by_role("button", name=re.compile("^A.B: B, switch to Take 2"))).to_be_visible()


def test_with_and_without_the_twin_in_one_click(page: Page, studio: httpx.Client, twins: dict[str, Twin]) -> None:
    sent = bodies(page)
    start(page, studio, "dark trap")
    page.get_by_label("Twin", exact=True).select_option(twins["ace_step"].lora_id)
    page.get_by_role("button", name="With and without the twin").click()
    card = request(page, 2)
    expect(takes(card)).to_have_count(2)
    expect(takes(card).nth(0)).to_contain_text("With the twin")
    expect(takes(card).nth(1)).to_contain_text("Without the twin")
    without, with_twin = sent
    assert with_twin["lora_id"] == twins["ace_step"].lora_id and "lora_id" not in without
    assert without["backend_override"] == "ace_step" and without["seed"] == with_twin["seed"]
    card.get_by_role("button", name="Compare with and without").click()
    expect(player(page).get_by_role("button", name=re.compile("^A.B: B, switch to Without"))).to_be_visible()


def test_all_that_a_request_can_say_is_sent(page: Page, studio: httpx.Client, twins: dict[str, Twin]) -> None:
    sent = bodies(page)
    start(page, studio, "dark trap")
    page.get_by_label("Twin", exact=True).select_option(twins["ace_step"].lora_id)
    page.get_by_text("Tempo, key, lyrics").click()
    page.get_by_label("Key").select_option("A minor")
    page.get_by_role("button", name="[Chorus]").click()
    page.keyboard.type("night drive")
    page.get_by_text("Strength, model, reference").click()
    page.get_by_label("Strength of the twin").fill("0.8")
    page.get_by_label("Sampling steps").fill("3")
    page.get_by_label("Guidance").fill("2")
    page.get_by_label("Reference track").fill("producer:studio")
    accessible_everywhere(page)
    page.get_by_role("button", name="Make a take").click()
    expect(takes(request(page, 1))).to_have_count(1)
    said = {name: value for name, value in sent[0].items() if name not in ("seed", "response", "prompt")}
    assert said == {
        "duration_seconds": 2,
        "lora_id": twins["ace_step"].lora_id,
        "key": "A minor",
        "lyrics": "[Chorus]\nnight drive",
        "lora_scale": 0.8,
        "steps": 3,
        "guidance": 2,
        "reference": "producer:studio",
        "stream": True,
    }


def test_what_was_made_outlives_navigation_and_reload(page: Page, studio: httpx.Client) -> None:
    start(page, studio, "thylacine drums")
    page.get_by_role("button", name="Make a take").click()
    expect(takes(request(page, 1))).to_have_count(1)
    page.get_by_role("link", name="Library").click()
    expect(page.get_by_role("heading", name="Library")).to_be_visible()
    page.get_by_role("link", name="Artists").click()
    expect(takes(request(page, 1))).to_have_count(1)
    page.reload()
    expect(page.get_by_label("Prompt")).to_have_value("thylacine drums")
    expect(takes(request(page, 1))).to_have_count(1)
    expect(page.get_by_role("status").filter(has_text="A take is ready")).to_have_count(0)


def test_a_failed_take_is_tried_again_or_dismissed(page: Page, studio: httpx.Client) -> None:
    start(page, studio, "dark trap", "4000")
    page.locator("form").evaluate("(form) => { form.noValidate = true }")
    page.get_by_role("button", name="Make a take").click()
    card = request(page, 1)
    expect(card.get_by_role("alert")).to_contain_text("4000 s are over")
    accessible_everywhere(page)
    sent = bodies(page)
    card.get_by_role("button", name="Try again").click()
    expect(card.get_by_role("alert")).to_contain_text("4000 s are over")
    assert len(sent) == 1
    card.get_by_role("button", name="Remove from the list").click()
    expect(card).to_have_count(0)


def test_the_twins_are_fetched_again_when_the_service_is_back(
    page: Page, studio: httpx.Client, twins: dict[str, Twin]
) -> None:
    page.route("**/api/service/loras", lambda route: route.abort())
    page.goto(str(studio.base_url))
    expect(page.get_by_role("alert").filter(has_text="does not answer")).to_be_visible()
    page.unroute("**/api/service/loras")
    expect(page.get_by_label("Twin", exact=True).locator("option")).not_to_have_count(1)
    expect(page.get_by_role("alert").filter(has_text="does not answer")).to_have_count(0)


def test_a_service_with_three_routes_makes_and_plays_tracks(
    page: Page, original: httpx.Client, stand_in: StandIn
) -> None:
    audio = as_base64(beat(3))
    answer = {"audio_base64": audio, "backend": "ace_step", "seed": 3, "duration_seconds": 3.0}
    stand_in.answers["/sing"] = (200, answer)
    start(page, original, "dark trap")
    page.get_by_label("Twin", exact=True).fill("ada:night")
    page.get_by_role("button", name="Make a take").click()
    expect(takes(request(page, 1))).to_contain_text("Seed 3")
    page.get_by_role("button", name=re.compile("^Play Take 1")).click()
    expect(player(page).get_by_role("slider")).to_have_attribute("aria-valuenow", re.compile("^[1-3]$"))
    expect(player(page).locator(".wave div").first).to_be_attached()
