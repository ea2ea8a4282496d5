"""Requests under way: they outlive reloads, closed tabs and lost answers; cancelled, and refused beside the field."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, Request, Route, expect

from tests.api import ACE_STEP_ONLY, Api, Json, running, wait_until
from tests.conftest import KNOWS_WEB, PASSWORD
from tests.web.artist.everywhere import accessible_everywhere
from tests.web.artist.test_making import SLOW_SECONDS, request, start, takes
from tests.web.conftest import Web

SUBMIT = "**/api/service/generate/submit"


def submissions(page: Page) -> list[Request]:
    """The requests of all pages of the browser that submit tracks, as they are sent."""
    sent: list[Request] = []
    page.context.on("request", lambda made: sent.append(made) if made.url.endswith("/generate/submit") else None)
    return sent


def submit(page: Page, app: httpx.Client, prompt: str, seconds: str = SLOW_SECONDS) -> str:
    """Ask for a take. Returns the id of the track that the service makes."""
    start(page, app, prompt, seconds)
    with page.expect_response(SUBMIT) as answered:
        page.get_by_role("button", name="Make a take").click()
    track_id: str = answered.value.json()["track_id"]
    return track_id


def state(api: Api, track_id: str) -> str:
    found: str = api.get(f"/tracks/{track_id}").get("state", "done")
    return found


def named(api: Api, prompt: str) -> list[Json]:
    found: list[Json] = api.get("/tracks", text=prompt)["tracks"]
    return found


def test_a_reload_takes_up_what_is_under_way(page: Page, studio: httpx.Client, api: Api) -> None:
    sent = submissions(page)
    track_id = submit(page, studio, "bilby drums")
    status = request(page, 1).get_by_role("status")
    expect(status).to_have_text("Being made")
    page.on("dialog", lambda dialog: pytest.fail(f"it asks: {dialog.type}"))
    page.reload()
    expect(status).to_have_text("Being made")
    expect(request(page, 1)).to_contain_text(re.compile(r"\d+ %, about \d+ s left"))
    accessible_everywhere(page)
    page.get_by_role("link", name="Library").click()
    page.get_by_role("link", name="Artists").click()
    expect(status).to_have_text("Being made")
    (only,) = sent
    assert uuid.UUID(only.header_value("idempotency-key") or "").version == 4
    request(page, 1).get_by_role("button", name="Cancel").click()
    expect(request(page, 1)).to_have_count(0)
    assert state(api, track_id) == "cancelled"
    wait_until(lambda: not any(row["under_way"] for row in api.get("/backends")["backends"]))


def test_a_new_tab_has_what_was_made_while_none_was_open(page: Page, studio: httpx.Client, api: Api) -> None:
    start(page, studio, "quokka drums", "6")
    page.get_by_role("spinbutton", name="Takes").fill("2")
    page.get_by_text("Tempo, key, lyrics").click()
    page.get_by_label("Tempo in bpm").fill("120")
    with page.expect_response(SUBMIT) as answered:
        page.get_by_role("button", name="Make 2 takes").click()
    track_id = answered.value.json()["track_id"]
    context = page.context
    page.close()
    wait_until(lambda: state(api, track_id) == "done")
    page = context.new_page()
    page.goto(str(studio.base_url))
    card = request(page, 1)
    expect(takes(card)).to_have_count(2)
    expect(takes(card).first).to_contain_text("Best")
    expect(takes(card).first).to_contain_text("LUFS")
    expect(takes(card).first.get_by_role("link", name="Open Take 1")).to_have_attribute("href", f"/track/{track_id}")
    accessible_everywhere(page)
    assert len(named(api, "quokka drums")) == 2
    takes(card).first.get_by_role("link", name="Open Take 1").click()
    expect(page.get_by_role("region", name="How it was made").get_by_text(re.compile("LUFS"))).to_be_visible()


def test_tabs_have_the_same_requests(page: Page, studio: httpx.Client) -> None:
    other = page.context.new_page()
    other.goto(str(studio.base_url))
    sent = submissions(page)
    submit(page, studio, "numbat drums")
    expect(request(other, 1).get_by_role("status")).to_have_text("Being made")
    other.get_by_label("Prompt").fill("dunnart drums")
    other.get_by_label("Length in seconds").fill("2")
    other.get_by_role("button", name="Make a take").click()
    expect(takes(request(page, 2))).to_have_count(1)
    request(other, 1).get_by_role("button", name="Cancel").click()
    expect(request(page, 1)).to_have_count(0)
    expect(request(other, 1)).to_have_count(0)
    assert len(sent) == 2


def test_an_answer_that_was_lost_makes_nothing_twice(page: Page, studio: httpx.Client, api: Api) -> None:
    taken: list[Any] = []

    def lose(route: Route) -> None:
        if taken:
            route.continue_()
        else:
            taken.append(route.fetch().json())  # and the page does not hear of it

    sent = submissions(page)
    page.route(SUBMIT, lose)
    start(page, studio, "potoroo drums")
    page.get_by_role("button", name="Make a take").click()
    expect(request(page, 1).get_by_role("status")).to_have_text("Under way")
    while not taken:
        page.wait_for_timeout(50)
    page.reload()  # unrouting first would send the lost request on
    expect(takes(request(page, 1))).to_have_count(1)
    first, again = [(each.header_value("idempotency-key"), each.post_data) for each in sent]
    assert first == again and first[0]
    (track,) = named(api, "potoroo drums")
    assert track["track_id"] == taken[0]["track_id"]


def test_where_events_do_not_come_through_the_page_asks(page: Page, studio: httpx.Client) -> None:
    page.route("**/api/service/tracks/*/events", lambda route: route.abort())
    start(page, studio, "wallaby drums")
    page.get_by_role("button", name="Make a take").click()
    expect(takes(request(page, 1))).to_have_count(1)


def test_the_page_goes_on_after_it_was_offline(page: Page, studio: httpx.Client, api: Api) -> None:
    track_id = submit(page, studio, "echidna drums", "30")
    page.context.set_offline(True)
    wait_until(lambda: state(api, track_id) == "done")
    page.context.set_offline(False)
    expect(takes(request(page, 1))).to_have_count(1)


def test_a_track_that_was_cancelled_elsewhere_says_so(page: Page, studio: httpx.Client, api: Api) -> None:
    track_id = submit(page, studio, "wombat drums")
    expect(request(page, 1).get_by_role("status")).to_have_text("Being made")
    api.client.delete(f"/tracks/{track_id}")
    expect(request(page, 1).get_by_role("alert")).to_have_text("It was cancelled.")
    accessible_everywhere(page)
    with page.expect_response(SUBMIT) as answered:
        request(page, 1).get_by_role("button", name="Try again").click()
    again = answered.value.json()["track_id"]
    assert again != track_id
    expect(request(page, 1).get_by_role("status")).to_have_text("Being made")
    request(page, 1).get_by_role("button", name="Cancel").click()
    expect(request(page, 1)).to_have_count(0)
    assert state(api, again) == "cancelled"


def test_what_the_service_refuses_is_said_beside_the_field(page: Page, studio: httpx.Client) -> None:
    start(page, studio, "dark trap")
    tempo = page.get_by_label("Tempo in bpm")
    page.get_by_text("Tempo, key, lyrics").click()
    tempo.fill("301")
    page.get_by_text("Tempo, key, lyrics").click()
    page.locator("form").evaluate("(form) => { form.noValidate = true }")
    page.get_by_role("button", name="Make a take").click()
    expect(tempo).to_be_focused()
    expect(tempo).to_have_attribute("aria-invalid", "true")
    expect(tempo).to_have_accessible_description(re.compile("300"))
    expect(request(page, 1).get_by_role("alert")).to_contain_text("Tempo: ")
    accessible_everywhere(page)
    tempo.fill("300")
    expect(tempo).not_to_have_attribute("aria-invalid", "true")
    page.reload()
    expect(request(page, 1).get_by_role("alert")).to_contain_text("Tempo: ")
    expect(tempo).not_to_have_attribute("aria-invalid", "true")


def test_with_a_password_ones_own_tracks_are_followed_and_cancelled_without_it(page: Page, web: Web, api: Api) -> None:
    app = web({"MUSIC_SERVICE_URL": api.server.url, "NAWFSIDE_APP_PASSWORD": PASSWORD})
    track_id = submit(page, app, "bettong drums")
    page.reload()
    card = request(page, 1)
    expect(card.get_by_role("status")).to_have_text("Being made")
    delete = f"{app.base_url}/api/service/tracks/{track_id}"
    assert app.delete(delete).status_code == 401
    other = submit(page, app, "quoll drums")
    (own,) = [cookie for cookie in page.context.cookies(delete) if cookie.get("name") == "producer-twin-own"]
    assert own.get("httpOnly") and own.get("path", "").endswith(track_id)
    for wrong in (f"/api/service/tracks/{other}", "/api/service/tracks/base:x", "/api/service/jobs/x"):
        cookie = {"cookie": f"producer-twin-own={own.get('value')}"}
        assert app.delete(wrong, headers=cookie).status_code == 401
    renaming = app.patch(delete, headers={"cookie": f"producer-twin-own={own.get('value')}"}, json={"liked": True})
    assert renaming.status_code == 401
    card.get_by_role("button", name="Cancel").click()
    expect(card).to_have_count(0)
    assert state(api, track_id) == "cancelled" and state(api, other) in ("queued", "making")
    request(page, 2).get_by_role("button", name="Cancel").click()
    expect(request(page, 2)).to_have_count(0)
    wait_until(lambda: state(api, other) == "cancelled")


def test_with_a_password_tracks_of_another_browser_want_it(page: Page, web: Web, api: Api) -> None:
    app = web({"MUSIC_SERVICE_URL": api.server.url, "NAWFSIDE_APP_PASSWORD": PASSWORD})
    track_id = submit(page, app, "bettong bells")
    card = request(page, 1)
    expect(card.get_by_role("status")).to_have_text("Being made")
    page.context.clear_cookies()
    card.get_by_role("button", name="Cancel").click()
    expect(card.get_by_role("alert")).to_contain_text("Password: it is missing or wrong.")
    accessible_everywhere(page)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Continue").click()
    card.get_by_role("button", name="Cancel").click()
    expect(card).to_have_count(0)
    assert state(api, track_id) == "cancelled"


@pytest.fixture
def restarted(tmp_path: Path, tiny: dict[str, str]) -> Iterator[Api]:
    """A service of the test's own."""
    with running(tmp_path, tiny | ACE_STEP_ONLY | KNOWS_WEB, ("ace_step",)) as service:
        yield service


def test_a_request_outlives_the_services_front(page: Page, web: Web, restarted: Api) -> None:
    app = web({"MUSIC_SERVICE_URL": restarted.server.url})
    start(page, app, "galah drums", "60")
    page.get_by_text("Strength, model, reference").click()
    page.get_by_label("Sampling steps").fill("100")
    page.get_by_role("button", name="Make a take").click()
    expect(request(page, 1).get_by_role("status")).to_have_text("Being made")
    restarted.process("ProducerTwin").kill()
    expect(takes(request(page, 1))).to_have_count(1, timeout=300_000)
    assert len(named(restarted, "galah drums")) == 1
