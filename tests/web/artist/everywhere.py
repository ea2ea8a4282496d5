"""A state of a page at both widths and in both themes."""

from __future__ import annotations

from playwright.sync_api import Locator, Page

from tests.web.test_pages import accessible, fits

WIDTHS = (375, 1280)


def accessible_everywhere(page: Page) -> None:
    """Check that axe finds nothing grave, and that nothing is wider than the window."""
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 800})
            accessible(page)
            fits(page)


def player(page: Page) -> Locator:
    return page.get_by_role("region", name="Player")


def position(page: Page) -> int:
    """The second that the player is at."""
    return int(player(page).get_by_role("slider").get_attribute("aria-valuenow") or -1)


def drag(page: Page, start: float, end: float) -> None:
    """Drag across the player's waveform, between two shares of its width."""
    box = player(page).get_by_role("slider").bounding_box()
    assert box
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * start, y)
    page.mouse.down()
    for share in (start + 0.02, (start + end) / 2, end):
        page.mouse.move(box["x"] + box["width"] * share, y, steps=3)
    page.mouse.up()
