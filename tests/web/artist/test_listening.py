"""A take is heard while it is made, goes on as the whole file, and breaks off without harm."""

from __future__ import annotations

import re

import httpx
from playwright.sync_api import Page, expect

from tests.api import Api
from tests.conftest import Twin
from tests.web.artist.everywhere import accessible_everywhere, player, position
from tests.web.artist.test_making import bodies, request, takes

STREAM = re.compile(r"/api/service/tracks/[^/]+/stream$")


MADE_MS = 300_000  # of half a minute of music on a busy machine
# So that the service is ahead of the listener on a busy machine, too.
SLOWLY = """(() => {
  const play = HTMLMediaElement.prototype.play;
  HTMLMediaElement.prototype.play = function () { this.playbackRate = 0.25; return play.call(this); };
})()"""


def start(page: Page, app: httpx.Client, prompt: str, seconds: str) -> None:
    """Ask for a take of MusicGen, which makes its first second first."""
    page.goto(str(app.base_url))
    page.get_by_label("Prompt").fill(prompt)
    page.get_by_label("Length in seconds").fill(seconds)
    page.get_by_text("Strength, model, reference").click()
    page.get_by_label("Model", exact=True).select_option("musicgen")
    page.get_by_role("button", name="Make a take").click()


def test_a_take_is_heard_while_it_is_made_and_goes_on(page: Page, studio: httpx.Client, api: Api) -> None:
    page.add_init_script(SLOWLY)
    sent, fetched = bodies(page), []
    page.on("request", lambda made: fetched.append(made.url) if STREAM.search(made.url) else None)
    start(page, studio, "brolga drums", "30")
    card = request(page, 1)
    listen = card.get_by_role("button", name="Play brolga drums")
    expect(listen).to_be_visible()
    page.keyboard.press("Escape")
    listen.focus()
    page.keyboard.press("Enter")
    bar = player(page)
    expect(bar.get_by_role("button", name="Pause", exact=True)).to_be_visible()
    expect(bar.get_by_role("slider")).not_to_have_attribute("aria-valuenow", "0")
    expect(card.get_by_role("status")).to_have_text(re.compile("Being made|Almost there"))
    accessible_everywhere(page)
    assert sent[0]["stream"] is True and len(fetched) == 1
    page.get_by_role("link", name="Library").click()  # it goes on from page to page
    expect(page.get_by_role("heading", name="Library")).to_be_visible()
    before = position(page)
    expect(bar.get_by_role("link", name="brolga drums")).to_be_visible(timeout=MADE_MS)
    # The whole file goes on where the sound was, without a click.
    expect(bar.get_by_role("button", name="Pause", exact=True)).to_be_visible()
    assert before <= position(page) <= before + 20
    expect(bar.locator(".wave div").first).to_be_attached()
    second = position(page)
    expect(bar.get_by_role("slider")).not_to_have_attribute("aria-valuenow", str(second))
    bar.get_by_role("slider").focus()
    page.keyboard.press("Home")
    expect(bar.get_by_role("slider")).to_have_attribute("aria-valuenow", re.compile("^[01]$"))
    expect(bar.get_by_text("Download")).to_be_visible()
    assert len(fetched) == 1
    track = api.get("/tracks", text="brolga")["tracks"][0]
    assert bar.get_by_role("link", name="brolga drums").get_attribute("href") == f"/track/{track['track_id']}"


def test_several_takes_and_a_service_that_does_not_stream_are_asked_for_whole(page: Page, studio: httpx.Client) -> None:
    sent = bodies(page)
    page.goto(str(studio.base_url))
    page.get_by_label("Prompt").fill("plover drums")
    page.get_by_label("Length in seconds").fill("2")
    page.get_by_role("spinbutton", name="Takes").fill("2")
    page.get_by_role("button", name="Make 2 takes").click()
    expect(takes(request(page, 1))).to_have_count(2)

    def without_streams(route: object) -> None:
        answer = route.fetch()  # type: ignore[attr-defined]
        rows = [row | {"streams": False} for row in answer.json()["backends"]]
        route.fulfill(response=answer, json={"backends": rows})  # type: ignore[attr-defined]

    page.route("**/api/service/backends", without_streams)
    page.reload()
    expect(page.get_by_role("spinbutton", name="Takes")).to_have_value("2")
    page.get_by_role("spinbutton", name="Takes").fill("1")
    page.get_by_role("button", name="Make a take").click()
    expect(takes(request(page, 2))).to_have_count(1)
    assert [("stream" in body) for body in sent] == [False, False]


def test_a_cancelled_take_is_silent(page: Page, studio: httpx.Client, api: Api) -> None:
    start(page, studio, "curlew drums", "290")
    card = request(page, 1)
    card.get_by_role("button", name="Play curlew drums").click()
    expect(player(page).get_by_role("slider")).not_to_have_attribute("aria-valuenow", "0")
    card.get_by_role("button", name="Cancel").click()
    expect(card).to_have_count(0)
    expect(player(page)).to_have_count(0)


def test_a_sound_that_breaks_off_goes_on_when_the_track_is_made(page: Page, studio: httpx.Client) -> None:
    start(page, studio, "godwit drums", "30")
    listen = request(page, 1).get_by_role("button", name="Play godwit drums")
    expect(listen).to_be_visible()
    page.route(STREAM, lambda route: route.abort())
    page.evaluate(SLOWLY)
    listen.click()
    bar = player(page)
    expect(bar.get_by_role("alert")).to_have_text("The sound broke off; it goes on when the track is made.")
    accessible_everywhere(page)
    expect(bar.get_by_role("alert")).to_have_count(0, timeout=MADE_MS)
    expect(bar.get_by_role("button", name="Pause", exact=True)).to_be_visible()
    expect(bar.get_by_role("slider")).not_to_have_attribute("aria-valuenow", "0")


def test_a_pair_is_heard_each(page: Page, studio: httpx.Client, twins: dict[str, Twin]) -> None:
    sent = bodies(page)
    page.goto(str(studio.base_url))
    page.get_by_label("Prompt").fill("dotterel drums")
    page.get_by_label("Length in seconds").fill("2")
    page.get_by_label("Twin", exact=True).select_option(twins["musicgen"].lora_id)
    page.get_by_role("button", name="With and without the twin").click()
    expect(takes(request(page, 2))).to_have_count(2)
    assert [body["stream"] for body in sent] == [True, True]
