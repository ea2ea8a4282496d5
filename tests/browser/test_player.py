"""Tracks play in a real browser from the contract's `data:audio/wav;base64,…`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.api import Api, as_base64, beat
from tests.chromium import chromium

SECONDS = 6

POST = """
async ([path, body]) => {
  const headers = {"Content-Type": "application/json"};
  const answer = await fetch(path, {method: "POST", headers, body: JSON.stringify(body)});
  return [answer.status, await answer.json()];
}
"""

# Plays the track. Returns its duration, and the times that the player reached.
PLAY = """
async (source) => {
  const player = document.body.appendChild(document.createElement("audio"));
  const event = (name) => new Promise((done, failed) => {
    player.addEventListener(name, done, {once: true});
    player.addEventListener("error", () => failed(new Error(player.error.message)), {once: true});
  });
  const known = event("loadedmetadata");
  player.src = source;
  await known;
  await player.play();
  const places = [];
  while (places.length < 200 && player.currentTime < 1) {
    places.push(player.currentTime);
    await new Promise((done) => setTimeout(done, 100));
  }
  places.push(player.currentTime);
  player.currentTime = player.duration - 0.2;
  await event("ended");
  return {duration: player.duration, places, end: player.currentTime};
}
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture
def page(browser: Browser, api: Api) -> Iterator[Page]:
    """An empty page on the service's origin."""
    context = browser.new_context()
    page = context.new_page()
    blank = "<!doctype html><title>player</title>"
    page.route("**/player", lambda route: route.fulfill(content_type="text/html", body=blank))
    page.goto(f"{api.server.url}/player")
    page.set_default_timeout(120_000)
    yield page
    context.close()


def post(page: Page, path: str, **body: Any) -> dict[str, Any]:
    status, answer = page.evaluate(POST, [path, body])
    assert status == 200, answer
    made: dict[str, Any] = answer
    return made


def test_a_page_uploads_a_beat(page: Page, api: Api) -> None:
    data = beat(2)
    stored = post(page, "/store-upload", producerId="browser", filename="beat.wav", contentBase64=as_base64(data))
    assert api.file(stored["path"]).read_bytes() == data


@pytest.mark.parametrize("backend", ["ace_step", "musicgen"])
@pytest.mark.parametrize(
    ("output_format", "kind"), [("wav", "audio/wav"), ("mp3", "audio/mpeg"), ("opus", "audio/ogg")]
)
def test_a_page_plays_what_it_had_made(page: Page, backend: str, output_format: str, kind: str) -> None:
    made = post(
        page,
        "/generate",
        prompt="808 trap beat",
        durationSeconds=SECONDS,
        backendOverride=backend,
        outputFormat=output_format,
    )
    played = page.evaluate(PLAY, f"data:{kind};base64,{made['audio_base64']}")
    assert played["duration"] == pytest.approx(SECONDS, abs=0.1)
    places = played["places"]
    assert places == sorted(places) and places[-1] >= 1
    assert played["end"] == pytest.approx(SECONDS, abs=0.1)


def test_a_page_reads_why_it_was_refused(page: Page) -> None:
    status, answer = page.evaluate(POST, ["/generate", {"prompt": " "}])
    assert status == 400
    assert list(answer) == ["error"] and "prompt" in answer["error"]
