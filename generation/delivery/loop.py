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
CROSSFADES_SECONDS = (0.03, 0.005)
# A bar is made before the loop and another after it, so that a piece's beginning and ending are not in the loop.
_LEAD_BARS = 1
_MARGIN_BARS = 2
# A bar more, where the backend can make it: the loop begins with the one that follows more smoothly on its end.
_SPARE_BARS = 1
_WINDOW = 2_048
_LEAST_JUMP = 0.1


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
        spare_bars: by how many bars it may begin later.
    """

    bars: int
    bpm: int
    time_signature: str
    spare_bars: int = _SPARE_BARS

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
        return (self.bars + _MARGIN_BARS + self.spare_bars) * self.bar_seconds

    def cut(self, samples: Samples, rate: int) -> Samples:
        """The loop out of a track of `made_seconds`.

        Its last samples cross-fade into those that precede its first one, so that the first follows the last as it did
        in the track, and keeps its attack. Where a piece changes at a bar line, the join would be heard: of the bars
        that the loop may begin with, and the lengths of the cross-fade, those with the least change are taken.
        """
        frames = round(self.seconds * rate)
        starts = [round((_LEAD_BARS + spare) * self.bar_seconds * rate) for spare in range(self.spare_bars + 1)]
        loops = (
            _joined(samples[start : start + frames], samples[:start], round(seconds * rate))
            for start in starts
            for seconds in CROSSFADES_SECONDS
        )
        return min(loops, key=self._roughness)

    def _roughness(self, samples: Samples) -> float:
        """The spectral jump where the loop starts again, relative to those at its other bar lines."""
        twice, frames = np.concatenate([samples, samples[:_WINDOW]]), len(samples)
        others = [spectral_jump(twice, round(number * frames / self.bars)) for number in range(1, self.bars)]
        return spectral_jump(twice, frames) / max(float(np.median(others)) if others else 1.0, _LEAST_JUMP)


def _joined(loop: Samples, before: Samples, fade: int) -> Samples:
    """The loop whose last `fade` frames fade into the last ones of what came before it."""
    fade = min(fade, len(before), len(loop))
    end = cross_fade(loop[len(loop) - fade :], before[len(before) - fade :])
    return np.concatenate([loop[: len(loop) - fade], end])


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
    bars = min(max(asked, 1), most)
    has_spare = (bars + _MARGIN_BARS + _SPARE_BARS) * one.bar_seconds <= longest + 1e-9
    return Loop(bars, bpm, one.time_signature, _SPARE_BARS if has_spare else 0)
