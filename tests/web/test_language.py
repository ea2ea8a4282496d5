"""The language of the pages: the browser's, until a visitor chooses another one."""

from __future__ import annotations

import httpx
import pytest
from playwright.sync_api import Browser, expect

from tests.web.test_pages import accessible, fits

PAGES = {"/": "Einen Track machen", "/producer": "Trainiere deinen Twin", "/nothing": "Diese Seite gibt es nicht"}


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("", "en"),
        ("de", "de"),
        ("de-AT,en;q=0.5", "de"),
        ("fr, de;q=0.3, en;q=0.8", "en"),
        ("fr", "en"),
        ("en-GB;q=0.2, de;q=0.9", "de"),
        (";;;", "en"),
    ],
)
def test_the_browsers_language_is_spoken(alone: httpx.Client, accepted: str, language: str) -> None:
    answer = alone.get("/", headers={"accept-language": accepted})
    assert f'<html lang="{language}">' in answer.text


@pytest.mark.parametrize(("cookie", "language"), [("de", "de"), ("en", "en"), ("../de", "en"), ("constructor", "en")])
def test_the_chosen_language_goes_before(alone: httpx.Client, cookie: str, language: str) -> None:
    answer = alone.get("/", headers={"cookie": f"language={cookie}", "accept-language": "en"})
    assert answer.status_code == 200 and f'<html lang="{language}">' in answer.text


@pytest.mark.parametrize("path", PAGES)
def test_german_is_chosen_and_kept(browser: Browser, alone: httpx.Client, path: str) -> None:
    context = browser.new_context(locale="en-US", viewport={"width": 375, "height": 800})
    page = context.new_page()
    page.goto(f"{alone.base_url}{path}")
    page.get_by_label("Language").select_option("Deutsch")
    expect(page.get_by_role("heading", level=1)).to_have_text(PAGES[path])
    page.reload()
    expect(page.get_by_role("heading", level=1)).to_have_text(PAGES[path])
    accessible(page)
    fits(page)
    context.close()


def test_errors_are_in_the_chosen_language(browser: Browser, alone: httpx.Client) -> None:
    context = browser.new_context(locale="de-DE")
    page = context.new_page()
    page.goto(f"{alone.base_url}/producer")
    page.get_by_label("Producer-ID").fill("ada")
    alert = page.get_by_role("alert").filter(has_text="Der Musikdienst antwortet nicht.")
    expect(alert.first).to_be_visible(timeout=60_000)
    context.close()
