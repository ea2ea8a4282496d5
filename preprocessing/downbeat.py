"""The first downbeat of a song in a steady tempo.

Four cues tell a downbeat from other beats: low sound sets in, bass notes begin, the harmony changes, and most files
begin on one. Each votes for a phase of the bar.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from preprocessing.features import CQT_FRAME_RATE, ONSET_FRAME_RATE, Features
from preprocessing.tempo import enhance

Array = NDArray[np.float64]

BASS_SEMITONES = 24  # from C1
HARMONY_WEIGHT = 2.0  # the other cues weigh 1
FIRST_SOUND_WEIGHT, FIRST_SOUND_SPREAD = 6.0, 0.04  # the spread is in seconds


def first_downbeat(features: Features, bpm: float, beats_per_bar: int) -> float:
    """When the first bar begins, in seconds: from 0 to less than a bar."""
    envelopes = enhance(features.onset_envelopes)
    times = np.arange(envelopes.shape[1]) / ONSET_FRAME_RATE
    bar = beats_per_bar * 60 / bpm
    phases = np.arange(0, bar, 1 / ONSET_FRAME_RATE)

    def strength(row: Array, period: float) -> Array:
        """The mean of a row at each phase and every period after it, in units of its standard deviation."""
        starts = np.arange(0, max(period, times[-1] - bar), period)
        means = np.interp(phases[:, None] + starts, times, row).mean(axis=1)
        return np.asarray(means / max(float(means.std()), 1e-9))

    cqt = np.log1p(100 * features.cqt / features.cqt.max())
    cqt_times = np.arange(cqt.shape[1]) / CQT_FRAME_RATE

    def resampled(row: Array) -> Array:
        return np.interp(times, cqt_times, row)

    half_bar = max(2, int(bar / 2 * CQT_FRAME_RATE))
    votes = strength(envelopes[0], bar) + strength(envelopes[2], bar / beats_per_bar)
    votes += strength(resampled(_flux(cqt[:BASS_SEMITONES])), bar)
    for register in (cqt, cqt[: BASS_SEMITONES + 12]):
        votes += HARMONY_WEIGHT * strength(resampled(_chroma_novelty(register, half_bar)), bar)
    distance = (phases - features.first_sound + bar / 2) % bar - bar / 2
    votes += FIRST_SOUND_WEIGHT * np.exp(-((distance / FIRST_SOUND_SPREAD) ** 2))
    first = float(phases[votes.argmax()])
    return 0.0 if min(first, bar - first) < FIRST_SOUND_SPREAD else first  # no splinter before the first bar


def _flux(cqt: Array) -> Array:
    """How much louder the notes get around each frame, (frames,)."""
    padded = np.pad(cqt, ((0, 0), (1, 1)), mode="edge")
    return np.maximum(0, padded[:, 2:] - padded[:, :-2]).sum(axis=0)


def _chroma_novelty(cqt: Array, span: int) -> Array:
    """Cosine distance of the chroma of the next `span` frames from that of the `span` frames before, (frames,)."""
    chroma = cqt.reshape(-1, 12, cqt.shape[1]).sum(axis=0)
    sums = np.cumsum(np.pad(chroma / np.maximum(np.linalg.norm(chroma, axis=0), 1e-9), ((0, 0), (span + 1, span))), 1)
    frames = chroma.shape[1]
    before = sums[:, span : span + frames] - sums[:, :frames]
    after = sums[:, 2 * span : 2 * span + frames] - sums[:, span : span + frames]
    norms = np.linalg.norm(before, axis=0) * np.linalg.norm(after, axis=0)
    novelty = 1 - (before * after).sum(axis=0) / np.maximum(norms, 1e-9)
    novelty[:span] = novelty[-span:] = 0.0  # there, one of the two spans is cut off
    return np.asarray(novelty)
