"""Loops: a whole number of bars, cut so that the end runs into the beginning."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from contract import GenerateRequest
from core.errors import Refusal
from core.notation import BEATS_PER_BAR
from generation.delivery.true_peak import Samples
from generation.editing.splice import cross_fade

# The cross-fade at the join: the length is taken after which the loop begins least abruptly.
CROSSFADES_SECONDS = (0.03, 0.005, 0.12)
# A bar is made before the loop and another after it, so that a piece's beginning and ending are not in the loop.
_LEAD_BARS = 1
_MARGIN_BARS = 2
_WINDOW = 2_048


def spectral_jump(samples: Samples, at: int) -> float:
    """How much the spectrum changes at a frame: the mean distance of the windows before and after it, in decibels."""
    before, after = (
        np.abs(np.fft.rfft(samples[start : start + _WINDOW].mean(axis=1) * np.hanning(_WINDOW)))
        for start in (at - _WINDOW, at)
    )
    return float(np.mean(np.abs(20 * np.log10((after + 1e-4) / (before + 1e-4)))))


@dataclass(frozen=True)
class Loop:
    """A loop's length in music.

    Attributes:
        bars: how many it has.
        bpm: its tempo.
        time_signature: the numerator: 2, 3, 4 or 6.
    """

    bars: int
    bpm: int
    time_signature: str

    @property
    def beats_per_bar(self) -> int:
        return BEATS_PER_BAR[self.time_signature]

    @property
    def beats(self) -> int:
        return self.bars * self.beats_per_bar

    @property
    def bar_seconds(self) -> float:
        return self.beats_per_bar * 60 / self.bpm

    @property
    def seconds(self) -> float:
        return self.bars * self.bar_seconds

    @property
    def made_seconds(self) -> float:
        """The length of the track that the loop is cut from."""
        return (self.bars + _MARGIN_BARS) * self.bar_seconds

    def cut(self, samples: Samples, rate: int) -> Samples:
        """The loop out of a track of `made_seconds`.

        Its last samples cross-fade into those that precede its first one, so that the first follows the last as it did
        in the track, and keeps its attack. How early they do is chosen by the spectrum: where the piece changes at the
        loop's first bar, what precedes that bar is heard for a moment only.
        """
        start, frames = round(_LEAD_BARS * self.bar_seconds * rate), round(self.seconds * rate)
        loop = samples[start : start + frames]
        return min((_joined(loop, samples[:start], round(each * rate)) for each in CROSSFADES_SECONDS), key=_jump)


def _joined(loop: Samples, before: Samples, fade: int) -> Samples:
    """The loop whose last `fade` frames fade into the last ones of what came before it."""
    fade = min(fade, len(before), len(loop))
    return np.concatenate([loop[: len(loop) - fade], cross_fade(loop[len(loop) - fade :], before[len(before) - fade :])])


def _jump(loop: Samples) -> float:
    """The spectral jump where a loop starts again."""
    around = np.concatenate([loop[-_WINDOW:], loop[:_WINDOW]])
    return spectral_jump(around, len(around) // 2)


def loop_of(request: GenerateRequest, bpm: int | None, longest: float, backend: str) -> Loop:
    """The loop of whole bars whose length is nearest to the request's.

    Args:
        bpm: the tempo that the model is asked for.
        longest: the seconds that the backend makes at most.

    Raises:
        Refusal: 400, there is no tempo, or a bar does not fit.
    """
    if bpm is None:
        raise Refusal(400, "loop: bars need a tempo, and there is none; send bpm")
    one = Loop(1, bpm, request.time_signature or "4")
    most = int(longest / one.bar_seconds + 1e-9) - _MARGIN_BARS
    if most < 1:
        raise Refusal(
            400,
            f"loop: a bar of {one.bar_seconds:g} s with the bars around it is longer than the {longest:g} s that "
            f"{backend} makes at most; send a higher bpm",
        )
    asked = round(request.duration_seconds / one.bar_seconds)
    return Loop(min(max(asked, 1), most), bpm, one.time_signature)
