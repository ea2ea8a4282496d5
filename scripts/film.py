"""A recording of a page as an animated WebP: pictures taken one after the other, each shown for the same time."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

from PIL import Image
from playwright.sync_api import Locator, Page

PICTURES_A_SECOND = 5
QUALITY = 50


class Film:
    """Records a page.

    Attributes:
        seconds: the length so far.
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        self._pictures: list[tuple[bytes, int]] = []  # with how often each is shown

    @property
    def seconds(self) -> float:
        return sum(count for _, count in self._pictures) / PICTURES_A_SECOND

    def hold(self, seconds: float) -> None:
        """Go on for so many seconds of the film."""
        for _ in range(round(seconds * PICTURES_A_SECOND)):
            self._take()
            self.page.wait_for_timeout(1000 / PICTURES_A_SECOND)

    def type(self, field: Locator, text: str, pieces: int = 6) -> None:
        """Type the text, a piece a picture."""
        field.fill("")
        step = -(-len(text) // pieces)
        for start in range(0, len(text), step):
            field.press_sequentially(text[start : start + step])
            self._take()

    def skip_until(self, is_over: Callable[[], bool], seconds: float) -> None:
        """Show what takes long in at most so many seconds."""
        pause, taken = 500.0, 0
        while not is_over():
            self.page.wait_for_timeout(pause)
            if taken < seconds * PICTURES_A_SECOND:
                taken += self._take()

    def save(self, path: Path) -> None:
        frames = [Image.open(io.BytesIO(data)).convert("RGB") for data, _ in self._pictures]
        durations = [1000 * count // PICTURES_A_SECOND for _, count in self._pictures]
        frames[0].save(
            path, save_all=True, append_images=frames[1:], duration=durations, loop=0, quality=QUALITY, method=4
        )

    def _take(self) -> bool:
        """Take a picture. Returns whether it differs from the last one."""
        picture = self.page.screenshot()
        if self._pictures and self._pictures[-1][0] == picture:
            self._pictures[-1] = picture, self._pictures[-1][1] + 1
            return False
        self._pictures.append((picture, 1))
        return True
