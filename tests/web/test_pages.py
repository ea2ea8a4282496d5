"""The two pages in a real browser with a real service: by mouse, by keyboard, on a phone, during failures."""

from __future__ import annotations

import gzip
import io
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
import soundfile
from playwright.sync_api import Browser, Page, Response, expect

from scripts.web import WEB
from tests.api import Api, beat
from tests.conftest import PASSWORD, Twin
from tests.web.conftest import GUARDED, Web

AXE = WEB / "node_modules" / "axe-core" / "axe.min.js"
MAX_SCRIPT_BYTES = 170_000  # gzipped, loaded before the first click
MAX_TRAINING_MS = 900_000  # for a short training on a busy machine
PAGES = ["/", "/library", "/producer"]


def accessible(page: Page) -> None:
    """Check that axe finds no serious or critical violation."""
    page.evaluate(AXE.read_text())
    found = page.evaluate("async () => (await axe.run()).violations")
    grave = [
        (it["id"], [node["html"] for node in it["nodes"]]) for it in found if it["impact"] in ("serious", "critical")
    ]
    assert grave == []


def fits(page: Page) -> None:
    """Check that nothing is wider than the window."""
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0


def open_producer(page: Page, app: httpx.Client, producer: str) -> None:
    page.goto(f"{app.base_url}/producer")
    page.get_by_label("Producer id").fill(producer)


def send(page: Page, folder: Path, seconds: float = 20) -> None:
    file = folder / "night beat.wav"
    file.write_bytes(beat(seconds))
    page.get_by_label("Drop your beats here").set_input_files(file)


def start(page: Page, name: str, steps: int, cuts: str = "") -> None:
    page.get_by_label("Name of the twin").fill(name)
    page.get_by_text("How it is trained").click()
    page.get_by_label("Cuts").select_option(cuts)
    page.get_by_label("Steps").fill(str(steps))
    page.get_by_label("This music is mine").check()
    page.get_by_role("button", name="Start training").click()


def tracks(api: Api, producer: str) -> list[bytes]:
    return [path.read_bytes() for path in (api.folder / "outputs").rglob("*.wav") if producer in path.parts]


def test_from_a_beat_to_a_track(page: Page, studio: httpx.Client, api: Api, tmp_path: Path) -> None:
    open_producer(page, studio, "webster")
    send(page, tmp_path)
    song = page.get_by_role("listitem", name="night beat.wav")
    expect(song.get_by_label("Tempo in bpm")).to_have_attribute("placeholder", re.compile(r"^\d"))
    expect(song).to_contain_text(re.compile(r"\d bpm heard, \d+ % sure"))
    expect(song.locator(".beat-wave rect").first).to_be_attached()
    expect(song.get_by_label("Key").locator("option").first).to_contain_text("(auto)")
    accessible(page)
    song.get_by_label("Tempo in bpm").fill("141")
    song.get_by_label("Genre").fill("synthwave")
    expect(page.get_by_text(re.compile(r"^About 120 steps"))).to_be_visible()
    sent: list[Any] = []
    page.on("request", lambda made: sent.append(made.post_data_json) if made.url.endswith("/train/submit") else None)
    start(page, "night", 8, cuts="time")
    training = page.get_by_role("listitem", name=re.compile("^Training"))
    expect(training.get_by_role("status")).to_have_text("Done", timeout=MAX_TRAINING_MS)
    expect(training.get_by_role("link", name="The whole report")).to_be_visible()
    assert [body["segment_on"] for body in sent] == ["time"]
    (job,) = api.get("/jobs", producer_id="webster")["jobs"]
    report = studio.get(f"/api/service/jobs/{job['job_id']}/report")
    assert report.status_code == 200 and "sandbox" in report.headers["content-security-policy"]
    record = api.get("/datasets/webster")
    assert record["rights_confirmed"] is True
    assert record["files"][0]["metadata"] == {"title": "night beat", "bpm": 141, "genre": "synthwave"}
    twin = page.get_by_role("listitem", name="Twin webster:night")
    expect(twin.get_by_text("In use")).to_be_visible()
    accessible(page)

    page.get_by_role("link", name="Artists").click()
    tempo = page.get_by_label("Tempo in bpm")
    expect(tempo).to_have_attribute("placeholder", "any")
    page.get_by_label("Twin", exact=True).select_option("webster:night")
    expect(tempo).to_have_attribute("placeholder", "141")
    page.get_by_label("Prompt").fill("808 trap beat, dark synth")
    page.get_by_label("Length in seconds").fill("4")
    page.get_by_role("button", name="Make a take").click()
    take = page.get_by_role("listitem", name="Take 1")
    take.get_by_role("button", name=re.compile("^Play")).click(timeout=MAX_TRAINING_MS)
    player = page.get_by_role("region", name="Player")
    expect(player.get_by_role("slider")).to_have_attribute("aria-valuenow", re.compile("^[1-4]$"))
    take.get_by_text("Download").click()
    with page.expect_download() as download:
        take.get_by_role("link", name="WAV").click()
    saved = Path(download.value.path()).read_bytes()
    (stored,) = tracks(api, "webster")
    assert stored == saved
    take.get_by_text("Download").click()
    with page.expect_download() as download:
        take.get_by_role("link", name="MP3").click()
    assert soundfile.info(download.value.path()).format == "MP3"
    accessible(page)

    # The same seed gives the same take.
    take.get_by_role("button", name="Same seed again").click()
    expect(page.get_by_label("Seed")).not_to_have_value("")
    page.get_by_role("button", name="Make a take").click()
    second = page.get_by_role("listitem", name="Request 2").get_by_role("listitem", name="Take 1")
    expect(second).to_be_visible(timeout=MAX_TRAINING_MS)
    sounds = [soundfile.read(io.BytesIO(file))[0] for file in tracks(api, "webster")]
    assert len(sounds) == 2 and (sounds[0] == sounds[1]).all()


def test_a_training_is_cancelled_and_resumed(page: Page, studio: httpx.Client, api: Api, tmp_path: Path) -> None:
    open_producer(page, studio, "resumer")
    send(page, tmp_path)
    expect(page.get_by_role("listitem", name="night beat.wav").get_by_label("Key")).to_be_visible()
    start(page, "long", 400)
    training = page.get_by_role("listitem", name=re.compile("^Training"))
    expect(training.get_by_text(re.compile(r"^Step \d+ of 400"))).to_be_visible(timeout=MAX_TRAINING_MS)
    training.get_by_role("button", name="Cancel").click()
    expect(training.get_by_role("status")).to_have_text("Cancelled", timeout=MAX_TRAINING_MS)
    training.get_by_role("button", name="Resume").click()
    expect(training.get_by_role("status")).to_have_text("Done", timeout=MAX_TRAINING_MS)
    preview = training.get_by_label(re.compile(r"^Preview at step \d+$")).first
    seconds = preview.evaluate(
        """async (player) => {
      player.preload = "metadata";
      player.load();
      await new Promise((on, off) => {
        player.addEventListener("loadedmetadata", on);
        player.addEventListener("error", off);
      });
      return player.duration;
    }"""
    )
    assert seconds > 0
    (job,) = api.get("/jobs", producer_id="resumer")["jobs"]
    assert job["state"] == "done" and job["step"] == 400


def test_a_twin_is_rolled_back(page: Page, studio: httpx.Client, api: Api, twins: dict[str, Twin]) -> None:
    request = twins["ace_step"].request
    again = request | {"job_id": "ace-again", "seed": 5}
    api.post("/train", **again)
    open_producer(page, studio, "studio")
    twin = page.get_by_role("listitem", name="Twin studio:ace_twin")
    first = api.get("/loras/studio:ace_twin")["version"]
    twin.get_by_role("button", name=re.compile("^Use this one")).first.click()
    page.get_by_role("dialog").get_by_role("button", name="Use this one").click()
    expect(twin.get_by_role("button", name=f"Use this one: version {first[:8]}")).to_be_visible()
    assert api.get("/loras/studio:ace_twin")["version"] != first


def test_files_are_taken_where_the_page_did_not_come_by_tls(page: Page, studio: httpx.Client, tmp_path: Path) -> None:
    """Without https, as for a phone in the studio's network, browsers have no `crypto.randomUUID`."""
    page.add_init_script("delete Crypto.prototype.randomUUID")
    open_producer(page, studio, "network")
    send(page, tmp_path, 3)
    expect(page.get_by_role("listitem", name="night beat.wav").get_by_label("Key")).to_be_visible()


def test_the_wrong_password(page: Page, web: Web, api: Api, tmp_path: Path) -> None:
    app = web({"MUSIC_SERVICE_URL": api.server.url} | GUARDED)
    open_producer(page, app, "guarded")
    page.get_by_label("Password").fill("wrong")
    send(page, tmp_path, 3)
    song = page.get_by_role("listitem", name="night beat.wav")
    expect(song.get_by_role("alert").filter(has_text="Password: it is missing or wrong.")).to_be_visible()
    accessible(page)
    page.get_by_label("Password").fill(PASSWORD)
    song.get_by_role("button", name="Try again").click()
    expect(song.get_by_label("Key")).to_be_visible()
    expect(page.get_by_role("heading", name="Storage used")).to_be_visible()
    assert page.evaluate("fetch('/api/service/jobs').then((answer) => answer.status)") == 200  # as players ask
    kept = page.evaluate("JSON.stringify([localStorage, sessionStorage, document.cookie])")
    assert PASSWORD not in kept


@pytest.mark.parametrize("path", PAGES)
def test_the_service_is_down(page: Page, alone: httpx.Client, path: str) -> None:
    page.goto(f"{alone.base_url}{path}")
    if path == "/producer":
        page.get_by_label("Producer id").fill("ada")
    expect(page.get_by_role("alert").filter(has_text="the music service does not answer")).to_be_visible()
    accessible(page)


def test_what_the_service_refuses_is_said_in_its_words(page: Page, studio: httpx.Client) -> None:
    page.goto(str(studio.base_url))
    page.get_by_label("Prompt").fill("dark")
    page.get_by_label("Length in seconds").fill("4000")
    page.locator("form").evaluate("(form) => { form.noValidate = true }")
    page.get_by_role("button", name="Make a take").click()
    expect(page.get_by_role("alert").filter(has_text="4000 s are over")).to_be_visible()


def test_twins_are_blended(page: Page, studio: httpx.Client, api: Api, twins: dict[str, Twin]) -> None:
    request = twins["ace_step"].request
    api.post("/train", **(request | {"model_name": "other_twin", "job_id": "other-job", "seed": 2}))
    page.goto(str(studio.base_url))
    page.get_by_label("Prompt").fill("dark trap")
    page.get_by_label("Length in seconds").fill("2")
    page.get_by_label("Twin", exact=True).select_option("studio:ace_twin")
    page.get_by_label("Blend with").select_option("studio:other_twin")
    slider = page.get_by_role("slider", name="studio:other_twin")
    slider.focus()
    for _ in range(5):
        slider.press("ArrowRight")
    sent: list[Any] = []
    page.on("request", lambda made: sent.append(made.post_data_json) if made.url.endswith("/generate/submit") else None)
    page.get_by_role("button", name="Make a take").click()
    card = page.get_by_role("listitem", name="Request 1")
    expect(card.get_by_role("listitem", name="Take 1")).to_be_visible(timeout=MAX_TRAINING_MS)
    expect(card).to_contain_text("studio:ace_twin 40 %, studio:other_twin 60 %")
    assert [part["weight"] for part in sent[0]["loras"]] == [0.5, 0.75]


def test_who_waits_sees_the_place_in_the_queue(page: Page, studio: httpx.Client) -> None:
    page.goto(str(studio.base_url))
    page.get_by_label("Prompt").fill("dark trap")
    for seconds in (500, 600):
        page.get_by_label("Length in seconds").fill(str(seconds))
        page.get_by_role("button", name="Make a take").click()
    first, second = (page.get_by_role("listitem", name=f"Request {number}") for number in (1, 2))
    expect(second.get_by_role("status")).to_have_text("1 track ahead of yours")
    expect(first.get_by_role("status")).to_have_text("Being made")
    expect(first.get_by_role("progressbar")).to_be_visible()
    expect(first).to_contain_text(re.compile(r"\d+ %, about \d+ s left"))
    accessible(page)
    fits(page)
    for take in (second, first):
        take.get_by_role("button", name="Cancel").click()
        expect(take).to_have_count(0)


@pytest.mark.parametrize("path", PAGES)
def test_on_a_phone(browser: Browser, studio: httpx.Client, path: str, twins: dict[str, Twin]) -> None:
    context = browser.new_context(viewport={"width": 360, "height": 640}, has_touch=True, is_mobile=True)
    try:
        page = context.new_page()
        page.goto(f"{studio.base_url}{path}")
        if path == "/producer":
            page.get_by_label("Producer id").fill("studio")
            expect(page.get_by_role("listitem", name="Twin studio:ace_twin")).to_be_visible()
        fits(page)
        accessible(page)
        small = page.evaluate(
            "[...document.querySelectorAll('button, .button, input:not([type=checkbox]), select')]"
            ".filter((it) => it.offsetHeight > 0 && it.offsetHeight < 40).map((it) => it.outerHTML)"
        )
        assert small == []
    finally:
        context.close()


def test_by_keyboard_alone(page: Page, studio: httpx.Client) -> None:
    page.goto(str(studio.base_url))
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.get_by_label("Prompt").focus()
    page.keyboard.type("dark trap")
    for _ in range(2):
        page.keyboard.press("Tab")
    expect(page.get_by_label("Length in seconds")).to_be_focused()
    page.keyboard.press("Control+A")
    page.keyboard.type("2")
    page.keyboard.press("Enter")
    play = page.get_by_role("button", name=re.compile("^Play Take 1"))
    expect(play).to_be_visible(timeout=MAX_TRAINING_MS)
    play.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("region", name="Player").get_by_role("button", name="Pause", exact=True)).to_be_visible()


@pytest.mark.parametrize("path", PAGES)
def test_the_first_load_is_small(page: Page, studio: httpx.Client, path: str) -> None:
    scripts: list[Response] = []
    page.on("response", lambda answer: scripts.append(answer) if answer.request.resource_type == "script" else None)
    page.goto(f"{studio.base_url}{path}", wait_until="networkidle")
    size = sum(len(gzip.compress(answer.body())) for answer in scripts)
    print(f"{path}: {size / 1000:.1f} kB of JavaScript, gzipped")
    assert 0 < size <= MAX_SCRIPT_BYTES
