"""The form of a new twin: files that are dropped, sent, kept and removed, and what is said before anything is sent."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import Dialog, Page, expect

from tests.api import beat
from tests.web.producer.conftest import open_page
from tests.web.producer.facts import ROW, version
from tests.web.producer.service import Service
from tests.web.test_pages import accessible, fits

DROP = """([name, target]) => {
  const data = new DataTransfer();
  data.items.add(new File([new Uint8Array([1, 2, 3])], name, {type: "audio/wav"}));
  const on = document.querySelector(target);
  const event = new DragEvent("drop", {dataTransfer: data, bubbles: true, cancelable: true});
  on.dispatchEvent(event);
  return event.defaultPrevented;
}"""


def choose(page: Page, folder: Path, *names: str) -> None:
    for number, name in enumerate(names):
        (folder / name).write_bytes(beat(1, number=number))
    page.get_by_label("Drop your beats here").set_input_files([folder / name for name in names])


def test_a_beat_is_one_row(page: Page, service: Service, address: str, tmp_path: Path) -> None:
    page.set_viewport_size({"width": 1280, "height": 900})
    open_page(page, address)
    choose(page, tmp_path, "night.wav")
    beat_row = page.get_by_role("listitem", name="night.wav")
    expect(beat_row.get_by_label("Tempo in bpm")).to_have_attribute("placeholder", "140")
    expect(beat_row.get_by_label("Key").locator("option").first).to_have_text("A minor (auto)")
    expect(beat_row).to_contain_text("140 bpm heard, 90 % sure · A minor heard, 70 % sure")
    expect(beat_row.locator(".beat-wave rect").nth(50)).to_be_attached()
    row = beat_row.locator(".beat-row").bounding_box()
    wave = beat_row.locator(".beat-wave").bounding_box()
    assert row is not None and wave is not None and row["height"] <= 80 and wave["height"] == 64
    position = beat_row.get_by_role("slider", name="Position in night.wav")
    expect(position).to_have_attribute("max", "1")
    position.press("End")
    assert beat_row.locator("audio").evaluate("(player) => player.currentTime") == 1
    accessible(page)
    page.set_viewport_size({"width": 375, "height": 800})
    fits(page)


def test_another_producer_id_keeps_the_files(page: Page, service: Service, address: str, tmp_path: Path) -> None:
    open_page(page, address)
    choose(page, tmp_path, "one.wav", "two.wav")
    expect(page.get_by_label("Tempo in bpm")).to_have_count(2)
    page.get_by_label("Tempo in bpm").first.fill("99")
    page.get_by_label("Producer id").fill("ada lovelace")
    expect(page.get_by_text("The files are sent as soon as there is a producer id above.")).to_be_visible()
    page.get_by_label("Producer id").fill("adam")
    start = page.get_by_role("button", name="Start training")
    expect(start).to_be_enabled()
    assert len(service.sent("POST", "/uploads")) == 4  # each file for each of the two ids
    page.get_by_label("Producer id").fill("ada")
    expect(start).to_be_enabled()
    page.get_by_label("This music is mine").check()
    start.click()
    expect(page.locator(".beat")).to_have_count(0)
    assert len(service.sent("POST", "/uploads")) == 4
    (sent,) = service.sent("POST", "/train/submit")
    assert sent["producer_id"] == "ada" and sent["metadata_per_file"][0]["bpm"] == 99
    assert len(set(sent["upload_paths"])) == 2


def test_a_file_that_is_dropped_beside_the_box_is_taken(page: Page, service: Service, address: str) -> None:
    open_page(page, address)
    expect(page.get_by_label("Drop your beats here")).to_be_visible()
    assert page.evaluate(DROP, ["beside.wav", "h1"]) is True
    expect(page.get_by_role("listitem", name="beside.wav").get_by_label("Key")).to_be_visible()


def test_leaving_during_an_upload_asks_first(page: Page, service: Service, address: str, tmp_path: Path) -> None:
    service.held.add("/uploads")
    open_page(page, address)
    choose(page, tmp_path, "long.wav")
    expect(page.get_by_text("Uploading")).to_be_visible()
    asked: list[Dialog] = []

    def stay(dialog: Dialog) -> None:
        asked.append(dialog)
        dialog.dismiss()

    page.on("dialog", stay)
    page.get_by_role("link", name="Artists").click()
    expect(page.get_by_role("heading", name="Train your twin")).to_be_visible()
    with page.expect_event("dialog"):
        page.evaluate("location.reload()")
    assert [dialog.type for dialog in asked] == ["confirm", "beforeunload"]
    page.get_by_role("button", name="Remove long.wav").click()
    page.get_by_role("link", name="Artists").click()
    page.wait_for_url(address.removesuffix("producer"))


def test_removing_a_file_aborts_its_upload(page: Page, service: Service, address: str, tmp_path: Path) -> None:
    service.held.add("/uploads")
    open_page(page, address)
    with page.expect_request("**/api/service/uploads"):
        choose(page, tmp_path, "long.wav")
    expect(page.get_by_text("Uploading")).to_be_visible()
    with page.expect_event("requestfailed"):
        page.get_by_role("button", name="Remove long.wav").click()
    expect(page.locator(".beat")).to_have_count(0)
    assert service.broken.count("/uploads") == 1


def test_the_twins_name_is_checked_before_anything_is_sent(page: Page, service: Service, address: str) -> None:
    service.versions = [version(1, current=True)]
    open_page(page, address)
    name = page.get_by_label("Name of the twin")
    name.fill("night drive")
    expect(name).to_have_attribute("aria-invalid", "true")
    expect(name).to_have_accessible_description(re.compile("^This cannot be the name of a twin"))
    name.fill(ROW["model_name"])
    expect(page.get_by_text("This makes a new version of ada:night.")).to_be_visible()
    assert service.sent("POST", "/uploads") == []


def test_how_much_music_is_enough(page: Page, service: Service, address: str, tmp_path: Path) -> None:
    open_page(page, address)
    expect(page.get_by_text("Three songs and some minutes are the least.")).to_be_visible()
    choose(page, tmp_path, "a.wav", "b.wav")
    expect(page.get_by_text("2 songs, 2:02. Too little")).to_be_visible()
    choose(page, tmp_path, "c.wav")
    expect(page.get_by_text("3 songs, 3:03. Enough for a first twin.")).to_be_visible()
    accessible(page)
