"""Forms and navigation in a real browser: what is wrong is said beside it, and what has happened is announced."""

from __future__ import annotations

from pathlib import Path

import httpx
from playwright.sync_api import Browser, Page, expect

from tests.api import Api, beat
from tests.web.test_pages import accessible, open_producer


def test_an_invalid_field_in_closed_details_opens_and_says_so(page: Page, studio: httpx.Client) -> None:
    page.goto(f"{studio.base_url}/")
    page.get_by_label("Prompt").fill("dark trap")
    summary, tempo = page.get_by_text("Tempo, key, lyrics"), page.get_by_label("Tempo in bpm")
    summary.click()
    tempo.fill("5")
    summary.click()
    expect(tempo).to_be_hidden()
    page.get_by_role("button", name="Make a take").click()
    expect(tempo).to_be_focused()
    expect(tempo).to_have_attribute("aria-invalid", "true")
    expect(tempo).to_have_accessible_description("Value must be greater than or equal to 30.")
    accessible(page)
    tempo.fill("140")
    expect(tempo).not_to_have_attribute("aria-invalid", "true")
    expect(page.locator(".fault")).to_have_count(0)


def test_a_bad_producer_id_is_named(page: Page, studio: httpx.Client) -> None:
    page.goto(f"{studio.base_url}/producer")
    producer = page.get_by_label("Producer id")
    producer.press_sequentially("ada lovelace")
    expect(producer).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_text("This is not a valid producer id.")).to_be_visible()
    accessible(page)
    producer.fill(" ada ")
    expect(producer).to_have_attribute("aria-invalid", "false")
    page.keyboard.press("Tab")
    expect(producer).to_have_value("ada")
    expect(page.get_by_role("heading", name="New twin")).to_be_visible()


def test_files_of_one_name_get_numbers(page: Page, studio: httpx.Client, api: Api, tmp_path: Path) -> None:
    files = []
    for number, folder in enumerate(("one", "two", "three")):
        file = tmp_path / folder / ("Master.wav" if number == 2 else "master.wav")
        file.parent.mkdir()
        file.write_bytes(beat(1, number=number))
        files.append(file)
    open_producer(page, studio, "namesakes")
    page.get_by_label("Drop your beats here").set_input_files(files)
    names = ["master.wav", "master (2).wav", "Master (3).wav"]
    for name in names:
        expect(page.get_by_role("listitem", name=name, exact=True).get_by_label("Tempo in bpm")).to_be_visible()
    stored = {path.name: path.read_bytes() for path in (api.folder / "uploads" / "namesakes").rglob("*.wav")}
    assert stored == {name: file.read_bytes() for name, file in zip(names, files, strict=True)}


def test_a_finished_take_is_announced(page: Page, studio: httpx.Client) -> None:
    page.goto(f"{studio.base_url}/")
    page.get_by_label("Prompt").fill("dark trap")
    page.get_by_label("Length in seconds").fill("1")
    page.get_by_role("button", name="Make a take").click()
    expect(page.get_by_role("status").filter(has_text="A take is ready: dark trap")).to_be_attached()


def test_the_navigation_marks_the_page_that_is_shown(page: Page, studio: httpx.Client) -> None:
    for path, name in (("/", "Artists"), ("/library", "Library"), ("/producer", "Producers")):
        page.goto(f"{studio.base_url}{path}")
        expect(page.locator("nav [aria-current=page]")).to_have_text(name)


def test_the_page_for_404_is_readable_in_light_and_dark(browser: Browser, studio: httpx.Client) -> None:
    for scheme in ("light", "dark"):
        page = browser.new_page(color_scheme=scheme)
        answer = page.goto(f"{studio.base_url}/nothing")
        assert answer is not None and answer.status == 404
        expect(page.get_by_role("heading", name="There is no such page")).to_be_visible()
        accessible(page)
        page.close()
