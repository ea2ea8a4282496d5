"""The first downbeat of a song in a steady tempo.

Four cues tell a downbeat from other beats: low sound sets in, bass notes begin, the harmony changes, and most files
begin on one. Each votes for a phase of the bar.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from preprocessing.features import CQT_FRAME_RATE, ONSET_FRAME_RATE, Features
from preprocessing.novelty import BASS_SEMITONES, chroma_novelty, compress, enhance, flux

Array = NDArray[np.float64]

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

    cqt = compress(features.cqt)
    cqt_times = np.arange(cqt.shape[1]) / CQT_FRAME_RATE

    def resampled(row: Array) -> Array:
        return np.interp(times, cqt_times, row)

    half_bar = max(2, int(bar / 2 * CQT_FRAME_RATE))
    votes = strength(envelopes[0], bar) + strength(envelopes[2], bar / beats_per_bar)
    votes += strength(resampled(flux(cqt[:BASS_SEMITONES])), bar)
    for register in (cqt, cqt[: BASS_SEMITONES + 12]):
        votes += HARMONY_WEIGHT * strength(resampled(chroma_novelty(register, half_bar)), bar)
    distance = (phases - features.first_sound + bar / 2) % bar - bar / 2
    votes += FIRST_SOUND_WEIGHT * np.exp(-((distance / FIRST_SOUND_SPREAD) ** 2))
    first = float(phases[votes.argmax()])
    return 0.0 if min(first, bar - first) < FIRST_SOUND_SPREAD else first  # no splinter before the first bar
