"""How far the spectrum jumps at the edges of what an edit made anew, relative to the source's own bar lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks import starter
from benchmarks.measure import Figure, summarised
from contract import SamplingOptions
from generation.editing.recordings import Samples
from generation.editing.windows import Window
from models.ace_step import AceStep
from models.base import Row
from recipes.synthesiser import Song, render, text

CASES = 24
_BARS = 6
# A spectrum of 10 ms every 2.5 ms.
_FRAME_SECONDS, _FRAMES_APART = 0.01, 4
# An edge reaches as far as the cross-fade and a frame.
_REACH_SECONDS = 0.04
# Below the loudest of a song's spectra, in dB; what is fainter counts as this.
_RANGE = 70.0


@dataclass(frozen=True)
class _Case:
    """A song with a part to make anew.

    Attributes:
        samples: the source, `(frames, channels)`.
        window: of the track.
        bars: the bar lines of the source, in seconds.
        edges: where the window borders on the source, in seconds of the track.
        own: the same places in the song, in seconds of the source; empty where it ends there.
    """

    song: Song
    samples: Samples
    window: Window
    bars: tuple[float, ...]
    edges: tuple[float, ...]
    own: tuple[float, ...]


def measure(rounds: int) -> Iterator[Figure]:
    """The largest jump at a track's edges, over the median of the largest at each of the source's bar lines."""
    model = starter.load()
    cases = [_case(model, number) for number in range(CASES)]
    rows = [_row(model, number, case) for number, case in enumerate(cases)]
    tracks = starter.edited(model, rows, [case.samples for case in cases], [case.window for case in cases])
    usual = [_usual(case, model.sample_rate) for case in cases]
    seams = [
        _largest(samples, case.edges, model.sample_rate) / median
        for (samples, _), case, median in zip(tracks, cases, usual, strict=True)
    ]
    own = [
        _largest(case.samples, case.own, model.sample_rate) / median
        for case, median in zip(cases, usual, strict=True)
        if case.own
    ]
    name = f"ACE-Step's starter: jump of the spectrum at the edges of {CASES} edits / at bar lines"
    yield summarised(name, "≤ 1.2", seams)
    yield summarised("the same places before the edits / at bar lines", "", own)


def _case(model: AceStep, number: int) -> _Case:
    """Bars to repaint, bars behind the source, or bars in front of it, in turn."""
    song = starter.song(number)
    bar = song.bar_seconds
    samples = starter.in_16_bits(render(song, _BARS * bar, model.sample_rate, model.channels).T)
    length = len(samples) / model.sample_rate
    bars = tuple(each * bar for each in range(1, _BARS))
    match number % 3:
        case 0:
            return _Case(song, samples, Window(2 * bar, 4 * bar, length), bars, (2 * bar, 4 * bar), (2 * bar, 4 * bar))
        case 1:
            return _Case(song, samples, Window(length, length + 2 * bar, length + 2 * bar), bars, (length,), ())
        case _:
            window = Window(0.0, 2 * bar, length + 2 * bar, 2 * bar)
            return _Case(song, samples, window, bars, (2 * bar,), ())


def _row(model: AceStep, number: int, case: _Case) -> Row:
    prompt = text(case.song, np.random.default_rng(number), held_out=True)
    edit = starter.edit(model, case.samples, case.window)
    return Row(prompt, case.window.length, SamplingOptions(seed=number), edit=edit)


def _usual(case: _Case, rate: int) -> float:
    return float(np.median([_largest(case.samples, (bar,), rate) for bar in case.bars]))


def _largest(samples: Samples, places: Sequence[float], rate: int) -> float:
    """The largest jump, in dB, within `_REACH_SECONDS` of any of the places."""
    jumps, hop = _jumps(samples.mean(axis=1), rate), _FRAME_SECONDS / _FRAMES_APART
    times = (np.arange(len(jumps)) + _FRAMES_APART) * hop
    return max(float(jumps[np.abs(times - place) <= _REACH_SECONDS].max()) for place in places)


def _jumps(mono: NDArray[np.float32], rate: int) -> NDArray[np.float64]:
    """The difference, in dB, of each spectrum from the one whose frame ends where its own begins."""
    size = round(_FRAME_SECONDS * rate)
    frames = np.lib.stride_tricks.sliding_window_view(mono, size)[:: size // _FRAMES_APART]
    spectra = 20 * np.log10(np.abs(np.fft.rfft(frames * np.hanning(size))) + 1e-9)
    spectra = np.maximum(spectra, spectra.max() - _RANGE)
    return np.asarray(np.sqrt(((spectra[_FRAMES_APART:] - spectra[:-_FRAMES_APART]) ** 2).mean(axis=1)))
