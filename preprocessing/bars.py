"""Where the bars of a song in a steady tempo begin.

Four things tell the first beat of a bar from the others: low sound sets in, bass notes begin, the harmony after it
differs from that before it, and most files begin with one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from preprocessing.features import ONSETS_PER_SECOND, PITCHES_PER_SECOND, Heard
from preprocessing.rhythm import sharpened

Array = NDArray[np.float64]

BASS = 24  # semitones from C1
HARMONY = 2.0  # its weight; the others' is 1
FIRST_SOUND, SPREAD = 6.0, 0.04  # the weight, and how far (seconds) from it a bar may begin


def downbeat(heard: Heard, bpm: float, beats_per_bar: int) -> float:
    """When the first bar begins, in seconds from the start: from 0 to less than a bar."""
    onsets = sharpened(heard.onsets)
    times = np.arange(onsets.shape[1]) / ONSETS_PER_SECOND
    bar = beats_per_bar * 60 / bpm
    places = np.arange(0, bar, 1 / ONSETS_PER_SECOND)

    def at(row: Array, period: float) -> Array:
        """How strong a row is at each place and every period after it, in units of its spread."""
        starts = np.arange(0, max(period, times[-1] - bar), period)
        means = np.interp(places[:, None] + starts, times, row).mean(axis=1)
        return np.asarray(means / max(float(means.std()), 1e-9))

    pitches = np.log1p(100 * heard.pitches / heard.pitches.max())
    moments = np.arange(pitches.shape[1]) / PITCHES_PER_SECOND

    def over_time(row: Array) -> Array:
        return np.interp(times, moments, row)

    half_bar = max(2, int(bar / 2 * PITCHES_PER_SECOND))
    votes = at(onsets[0], bar) + at(onsets[2], bar / beats_per_bar)
    votes += at(over_time(_rise(pitches[:BASS])), bar)
    for voices in (pitches, pitches[: BASS + 12]):
        votes += HARMONY * at(over_time(_change(voices, half_bar)), bar)
    distance = (places - heard.start + bar / 2) % bar - bar / 2
    votes += FIRST_SOUND * np.exp(-((distance / SPREAD) ** 2))
    first = float(places[votes.argmax()])
    return 0.0 if min(first, bar - first) < SPREAD else first  # no splinter before the first bar


def _rise(pitches: Array) -> Array:
    """How much louder the notes are in the next frame than in the one before; (frames,)"""
    padded = np.pad(pitches, ((0, 0), (1, 1)), mode="edge")
    return np.maximum(0, padded[:, 2:] - padded[:, :-2]).sum(axis=0)


def _change(pitches: Array, span: int) -> Array:
    """How different the chord of the next `span` frames is from that of those before, 0 to 1; (frames,)"""
    chroma = pitches.reshape(-1, 12, pitches.shape[1]).sum(axis=0)
    sums = np.cumsum(np.pad(chroma / np.maximum(np.linalg.norm(chroma, axis=0), 1e-9), ((0, 0), (span + 1, span))), 1)
    frames = chroma.shape[1]
    before = sums[:, span : span + frames] - sums[:, :frames]
    after = sums[:, 2 * span : 2 * span + frames] - sums[:, span : span + frames]
    lengths = np.linalg.norm(before, axis=0) * np.linalg.norm(after, axis=0)
    change = 1 - (before * after).sum(axis=0) / np.maximum(lengths, 1e-9)
    change[:span] = change[-span:] = 0.0  # there, one of the two is cut off
    return np.asarray(change)
