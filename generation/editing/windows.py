"""The window of a track that is made anew, on the track's time line."""

from __future__ import annotations

from dataclasses import dataclass

from contract import GenerateRequest
from core.errors import Refusal

MIN_WINDOW_SECONDS = 0.1
# An `end` this far behind the source's counts as the source's: clients round lengths.
END_TOLERANCE_SECONDS = 0.05


@dataclass(frozen=True)
class Window:
    """Where a track is made anew; all in seconds.

    Attributes:
        start: of the window.
        end: of the window.
        length: of the track.
        before: by which the track begins before its source. If the window does not begin with the track, this part is
            made anew as well.
    """

    start: float
    end: float
    length: float
    before: float = 0.0

    @property
    def spans(self) -> tuple[tuple[float, float], ...]:
        """Start and end of each part that is made anew: two where a source is extended at both ends, otherwise one."""
        in_front = ((0.0, self.before),) if self.before and self.start else ()
        return (*in_front, (self.start, self.end))


def window_of(request: GenerateRequest, source_seconds: float) -> Window:
    """The window of the request's task in a track from a source of this length.

    Raises:
        Refusal: 400, the window is not in the source, or too short.
    """
    if request.task == "extend":
        before, after = request.before or 0.0, request.after or 0.0
        length = before + source_seconds + after
        window = (
            Window(before + source_seconds, length, length, before) if after else Window(0.0, before, length, before)
        )
    elif request.task in ("repaint", "lego"):
        window = Window(request.start or 0.0, _end(request.end, source_seconds), source_seconds)
        if window.start >= source_seconds:
            raise Refusal(400, f"start: {window.start:g} is not in the source, which is {source_seconds:g} s long")
    else:
        return Window(0.0, source_seconds, source_seconds)
    if any(end - start < MIN_WINDOW_SECONDS for start, end in window.spans):
        fields = "before, after" if request.task == "extend" else "start, end"
        raise Refusal(400, f"{fields}: at least {MIN_WINDOW_SECONDS:g} s can be made anew; choose a longer window")
    return window


def _end(asked: float | None, source_seconds: float) -> float:
    if asked is None:
        return source_seconds
    if asked > source_seconds + END_TOLERANCE_SECONDS:
        raise Refusal(
            400,
            f"end: {asked:g} is behind the end of the source, which is {source_seconds:g} s long; "
            "send less, or extend it (task: extend)",
        )
    return min(asked, source_seconds)
