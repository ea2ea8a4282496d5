"""Twins on the producer's page: versions that are heard and used, training again, import, export, deletion."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.web.producer.conftest import open_page
from tests.web.producer.facts import version
from tests.web.producer.service import Service
from tests.web.test_pages import accessible, fits


@pytest.fixture
def service(service: Service) -> Service:
    service.versions = [version(2, partial="20/40"), version(1, current=True)]
    return service


def test_a_version_is_heard_and_then_used_after_a_question(page: Page, service: Service, address: str) -> None:
    open_page(page, address)
    twin = page.get_by_role("listitem", name="Twin ada:night")
    twin.get_by_label("Prompt to hear the versions with").fill("dark trap")
    for short in ("22222222", "11111111"):
        twin.get_by_role("button", name=f"Listen to version {short}").click()
        expect(twin.get_by_label(f"Audition of version {short}")).to_be_attached()
    sent = service.sent("POST", "/generate")
    assert [body["lora_id"] for body in sent] == [f"ada:night@{digit * 16}" for digit in "21"]
    assert {body["prompt"] for body in sent} == {"dark trap"} and len({body["seed"] for body in sent}) == 1
    twin.get_by_role("button", name=re.compile("^Use this one")).click()
    question = page.get_by_role("dialog", name="Use version 22222222?")
    expect(question).to_contain_text("It is partial: its training stopped at step 20 of 40.")
    accessible(page)
    page.keyboard.press("Escape")
    expect(question).to_be_hidden()
    assert not any(path.endswith("/rollback") for _, path, _ in service.seen)
    twin.get_by_role("button", name=re.compile("^Use this one")).click()
    question.get_by_role("button", name="Use this one").click()
    expect(twin.locator(".versions li").first).to_contain_text("In use")
    page.set_viewport_size({"width": 375, "height": 800})
    fits(page)


def test_a_twin_is_trained_again(page: Page, service: Service, address: str) -> None:
    open_page(page, address)
    page.get_by_role("button", name="Train again: ada:night").click()
    page.get_by_role("dialog").get_by_role("button", name="Train again").click()
    expect(page.get_by_role("heading", name="Running now")).to_be_visible()
    expect(page.get_by_text("Waiting for its turn, number 1")).to_be_visible()


def test_a_twin_is_exported_and_deleted(page: Page, service: Service, address: str) -> None:
    open_page(page, address)
    export = page.get_by_role("link", name="Export version 22222222")
    expect(export).to_have_attribute("href", f"/api/service/loras/ada%3Anight/file?version={'2' * 16}")
    page.get_by_role("button", name="Delete ada:night").click()
    dialog = page.get_by_role("dialog", name="Delete ada:night?")
    expect(dialog).to_contain_text("Its 2 versions are deleted for good.")
    dialog.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("listitem", name="Twin ada:night")).to_have_count(0)


def test_a_twin_is_imported(page: Page, service: Service, address: str, tmp_path: Path) -> None:
    open_page(page, address)
    (tmp_path / "adapter.safetensors").write_bytes(b"{}")
    page.get_by_text("Import a twin").click()
    section = page.locator("details").filter(has_text="Import a twin")
    section.get_by_role("button", name="Import").click()
    expect(section.get_by_label("Files")).to_have_attribute("aria-invalid", "true")
    section.get_by_label("Files").set_input_files(tmp_path / "adapter.safetensors")
    section.get_by_label("Name").fill("other")
    section.get_by_role("button", name="Import").click()
    expect(section.get_by_role("status")).to_contain_text("ada:other is imported.")
    accessible(page)


def test_the_storage_used_is_shown(page: Page, service: Service, address: str) -> None:
    open_page(page, address)
    storage = page.get_by_role("region", name="Storage used")
    expect(storage).to_contain_text("3.5 MB of 10 MB used.")
    expect(storage).to_contain_text("Uploads: 3.5 MB")
