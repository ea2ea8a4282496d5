"""Trainings on the producer's page: what runs, the curve, the report in plain words, and deletion."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from tests.web.producer.conftest import open_page
from tests.web.producer.facts import JOB, REPORT, RUNNING, version
from tests.web.producer.service import Service
from tests.web.test_pages import accessible, fits


def test_what_runs_is_first_and_open(page: Page, service: Service, address: str) -> None:
    service.jobs = [dict(JOB), dict(RUNNING)]
    open_page(page, address)
    headings = page.get_by_role("heading", level=2)
    expect(headings).to_have_text(["Running now", "New twin", "Trainings", "Storage used"])
    running = page.get_by_role("listitem", name="Training dawn")
    expect(running.get_by_text("Step 20 of 40")).to_be_visible()
    expect(running.get_by_role("button", name="dawn")).to_have_attribute("aria-expanded", "true")
    ended = page.get_by_role("listitem", name="Training night")
    expect(ended.get_by_role("button", name="night", exact=False).first).to_have_attribute("aria-expanded", "false")
    assert not any("report" in path for _, path, _ in service.seen if path.startswith("/jobs/one"))
    fits(page)


def test_the_curve_has_axes_and_tells_its_series_apart(page: Page, service: Service, address: str) -> None:
    service.jobs = [dict(JOB)]
    open_page(page, address)
    unfold(page)
    curve = page.get_by_role("figure", name="How far the twin is off")
    expect(curve.locator("text")).to_have_text(["0.700", "0.775", "0.850", "0.925", "1.000", "0", "20", "40", "steps"])
    expect(curve.get_by_role("listitem")).to_have_text(
        ["music it is trained on, now 0.700", "songs it never hears, now 0.800", "the twin: step 40"]
    )
    styles = "(line) => [getComputedStyle(line).stroke, getComputedStyle(line).strokeDasharray]"
    one, other = (curve.locator("polyline").nth(number).evaluate(styles) for number in (0, 1))
    assert one[0] != other[0] and one[1] != other[1]


def test_the_report_is_in_plain_words(page: Page, service: Service, address: str) -> None:
    service.jobs = [dict(JOB)]
    open_page(page, address)
    unfold(page)
    report = page.locator(".report")
    expect(report.get_by_text("It learned little.")).to_be_visible()
    expect(report.get_by_text("On songs it never heard: +2% compared with")).to_be_visible()
    expect(report.get_by_text("That difference may be chance.")).to_be_visible()
    expect(report.get_by_text("It makes other music 20% worse")).to_be_visible()
    expect(report.get_by_text("Other music is nearer to your songs than what the twin plays.")).to_be_visible()
    expect(report.get_by_role("row", name=re.compile("cold light.*kept aside for the test"))).to_be_visible()
    expect(report.get_by_label("your song cold light, which the twin never heard")).to_be_attached()
    words = report.inner_text()
    assert not re.search(r"/data/|learning_rate|lora_scale|\.wav", words), words
    accessible(page)
    page.set_viewport_size({"width": 375, "height": 800})
    fits(page)


def test_the_report_says_where_the_songs_have_no_common_sound(page: Page, service: Service, address: str) -> None:
    service.jobs = [dict(JOB)]
    near = REPORT["resemblance"] | {"other_music": {"value": 0.2, "low": 0.1, "high": 0.3}}
    service.report = REPORT | {"resemblance": near}
    open_page(page, address)
    unfold(page)
    expect(page.get_by_text("they have no common sound")).to_be_visible()
    service.report = REPORT | {"resemblance": near | {"other_music": {"value": 2.0, "low": 1.9, "high": 2.1}}}
    page.reload()
    page.get_by_label("Producer id").fill("ada")
    unfold(page)
    expect(page.get_by_text("How near to your music")).to_be_visible()
    expect(page.locator(".report .notice")).to_have_count(0)


def test_a_partial_version_is_shown_at_once_and_marked(page: Page, service: Service, address: str) -> None:
    service.jobs = [dict(RUNNING)]
    service.versions = [version(1, current=True)]
    open_page(page, address)
    twin = page.get_by_role("listitem", name="Twin ada:night")
    expect(twin.get_by_role("button", name=re.compile("^Listen"))).to_have_count(1)
    page.get_by_role("listitem", name="Training dawn").get_by_role("button", name="Cancel").click()
    expect(twin.get_by_text("partial: stopped at step 20 of 40")).to_be_visible()
    expect(twin.get_by_role("button", name=re.compile("^Listen"))).to_have_count(2)


def test_a_training_is_deleted_after_a_question(page: Page, service: Service, address: str) -> None:
    service.jobs = [dict(JOB)]
    open_page(page, address)
    page.get_by_role("button", name="Delete the training night").click()
    question = page.get_by_role("dialog", name="Delete the training night?")
    accessible(page)
    question.get_by_role("button", name="Go back").click()
    assert service.sent("DELETE", "/jobs/one") == []
    page.get_by_role("button", name="Delete the training night").click()
    question.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("listitem", name="Training night")).to_have_count(0)


def test_lists_come_when_the_service_is_back(page: Page, service: Service, address: str) -> None:
    service.jobs, service.away = [dict(JOB)], True
    open_page(page, address)
    alert = page.get_by_role("alert").filter(has_text="The music service does not answer")
    expect(alert.first).to_be_visible()
    service.away = False
    expect(page.get_by_role("listitem", name="Training night")).to_be_visible()
    expect(alert).to_have_count(0)


def unfold(page: Page) -> None:
    page.get_by_role("listitem", name="Training night").locator(".fold").click()
