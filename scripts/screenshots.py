"""The pictures in web/README.md and the recording in README.md: the built app, with the starters, songs of the
synthesiser, and two twins.

python -m scripts.screenshots    after make web and what the browser tests need
"""

from __future__ import annotations

import io
import re
import tempfile
import time
from pathlib import Path

import httpx
import numpy as np
import soundfile
from playwright.sync_api import FilePayload, FloatRect, Locator, Page, expect

from core.settings import ROOT
from recipes.synthesiser import render, sample_song
from scripts.film import Film
from scripts.serving import serving
from scripts.web import key_for_web, serving_web
from tests.chromium import chromium

IMAGES = ROOT / "docs" / "images"
TIMEOUT = 1800_000  # milliseconds
PROMPT = "808 trap beat, dark synth"
SECONDS = 30  # of the recording


def main() -> None:
    of_service, of_app = key_for_web()
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(Path(folder), {"ALLOW_NONCOMMERCIAL": "false"} | of_service) as service,
        httpx.Client(base_url=service.url, timeout=600, trust_env=False) as client,
        serving_web({"MUSIC_SERVICE_URL": service.url} | of_app) as app,
        chromium() as browser,
    ):
        page = browser.new_page(viewport={"width": 1100, "height": 860})
        page.set_default_timeout(TIMEOUT)
        expect.set_options(timeout=TIMEOUT)
        train(client, "dawn", "synthwave")
        producer(page, app)
        artist(page, app)
        page.close()
        film(browser.new_page(viewport={"width": 960, "height": 640}), app)


def beat(genre: str, number: int, seconds: float = 24) -> bytes:
    file = io.BytesIO()
    wave = render(sample_song(np.random.default_rng(number), genre), seconds)
    soundfile.write(file, wave.T, 48_000, format="WAV")
    return file.getvalue()


def train(client: httpx.Client, name: str, genre: str) -> None:
    """Train a twin before the first picture."""
    files, form = {"file": (f"{name}.wav", beat(genre, 5))}, {"producer_id": "ada"}
    path = client.post("/uploads", files=files, data=form).raise_for_status().json()["path"]
    body = {"producer_id": "ada", "model_name": name, "upload_paths": [path], "max_steps": 20}
    job = client.post("/train/submit", json=body).raise_for_status().json()["job_id"]
    while (state := client.get(f"/jobs/{job}").json()["state"]) != "done":
        assert state not in ("failed", "cancelled")
        time.sleep(1)


def producer(page: Page, app: str) -> None:
    """The producer's page while a twin is trained on three songs, with a fourth one dropped."""
    page.goto(f"{app}/producer")
    page.get_by_label("Producer id").fill("ada")
    names = ["night drive", "cold light", "last train"]
    drop(page, {f"{name}.wav": beat("trap", number) for number, name in enumerate(names)})
    page.get_by_label("Name of the twin").fill("night")
    page.get_by_text("How it is trained").click()
    page.get_by_label("Steps").fill("150")
    page.get_by_text("How it is trained").click()
    page.get_by_label("This music is mine").check()
    page.get_by_role("button", name="Start training").click()
    training = page.get_by_role("listitem", name=re.compile("^Training")).filter(has_text="night")
    drop(page, {"after hours.wav": beat("trap", 7)})
    expect(training.get_by_text(re.compile(r"^Step (?:[4-9]\d|1\d\d) of 150"))).to_be_visible()
    shoot(page, "producer", page.get_by_role("listitem", name="after hours.wav"))
    expect(training.get_by_role("status")).to_have_text("Done")


def drop(page: Page, files: dict[str, bytes]) -> None:
    page.get_by_label("Drop your beats here").set_input_files(
        [FilePayload(name=name, mimeType="audio/wav", buffer=data) for name, data in files.items()]
    )
    for name in files:
        expect(page.get_by_role("listitem", name=name).get_by_label("Key")).to_be_visible()


def artist(page: Page, app: str) -> None:
    """The artist's page with takes of a blend of two twins, of which the player plays one."""
    page.goto(app)
    page.get_by_label("Prompt").fill(PROMPT)
    page.get_by_label("Length in seconds").fill("12")
    page.get_by_role("spinbutton", name="Takes").fill("2")
    page.get_by_label("Twin", exact=True).select_option("ada:night")
    page.get_by_label("Blend with").select_option("ada:dawn")
    page.get_by_role("slider", name="ada:dawn").fill("30")
    page.get_by_role("button", name="Make 2 takes").click()
    page.get_by_role("button", name=re.compile("^Play Take 1")).click()
    player = page.get_by_role("region", name="Player")
    expect(player.get_by_role("slider")).not_to_have_attribute("aria-valuenow", "0")
    page.evaluate("scrollTo(0, 0)")
    page.wait_for_timeout(1500)  # until the waveform is drawn
    page.screenshot(path=IMAGES / "artist.png")


def film(page: Page, app: str) -> None:
    """Half a minute: two takes with a twin, compared in place, found in the library, and edited."""
    page.set_default_timeout(TIMEOUT)
    page.goto(app)
    page.get_by_label("Length in seconds").fill("8")
    page.get_by_role("spinbutton", name="Takes").fill("2")
    page.evaluate("scrollTo(0, 0)")
    made = Film(page)
    made.hold(1)
    made.type(page.get_by_label("Prompt"), PROMPT)
    page.get_by_label("Twin", exact=True).select_option("ada:night")
    made.hold(1)
    page.get_by_role("button", name="Make 2 takes").click()
    takes = page.get_by_role("button", name=re.compile("^Play Take"))
    made.skip_until(lambda: takes.count() == 2, 4)
    takes.first.scroll_into_view_if_needed()
    made.hold(1)
    takes.first.click()
    player = page.get_by_role("region", name="Player")
    expect(player.get_by_role("slider")).to_be_visible()
    made.hold(3)
    page.get_by_role("button", name=re.compile("^A.B")).first.click()
    made.hold(3)
    page.get_by_role("link", name="Library").click()
    expect(page.get_by_role("button", name=re.compile("^Like")).first).to_be_visible()
    made.hold(2)
    made.type(page.get_by_label("Search"), "808")
    page.get_by_role("button", name=re.compile("^Like")).first.click()
    made.hold(2)
    page.get_by_role("main").get_by_role("link", name=PROMPT).first.click()
    expect(page.get_by_role("heading", name="Edit", exact=True)).to_be_visible()
    made.hold(2)
    page.get_by_role("heading", name="Edit", exact=True).scroll_into_view_if_needed()
    made.hold(2)
    page.get_by_role("link", name="Producers").click()
    made.type(page.get_by_label("Producer id"), "ada", 3)
    expect(page.get_by_role("listitem", name=re.compile("^Training")).first).to_be_visible()
    made.hold(2)
    page.get_by_role("listitem", name=re.compile("^Training")).first.get_by_role("button").first.click()
    made.hold(max(2, SECONDS - made.seconds))
    made.save(IMAGES / "studio.webp")


def shoot(page: Page, name: str, last: Locator) -> None:
    """Save a picture of the page from its top to this element."""
    page.evaluate("scrollTo(0, 0)")  # boxes are measured from the window's top
    page.wait_for_timeout(1500)  # until the waveforms are drawn
    box = last.bounding_box()
    assert box is not None
    clip = FloatRect(x=0, y=0, width=1100, height=box["y"] + box["height"] + 24)
    page.screenshot(path=IMAGES / f"{name}.png", full_page=True, clip=clip)


if __name__ == "__main__":
    main()
