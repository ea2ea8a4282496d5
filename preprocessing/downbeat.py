"""The first downbeat of a song in a steady tempo.

Beats are where the onsets are strongest. Candidates are the beats of a bar and the middles between them. Which of them
is the downbeat is decided by the onsets, bass notes and changes of harmony there, averaged over all bars, and by where
the first sound begins: on a downbeat, or a beat before it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from preprocessing.features import CQT_FRAME_RATE, ONSET_FRAME_RATE, Features
from preprocessing.novelty import BASS_SEMITONES, chroma_novelty, compress, enhance, flux

Array = NDArray[np.float64]

BASS_AND_TENOR_SEMITONES = BASS_SEMITONES + 12
NEAR = round(0.03 * ONSET_FRAME_RATE)  # frames around a candidate
FIRST_SOUND_SPREAD = 0.05  # seconds
MIN_FIRST_BAR = 0.04  # seconds; there is no splinter before the first bar

# One weight for each column of `evidence`; see preprocessing.conditional_logit.
WEIGHTS = np.array(
    [
        *(0.36, 0.18, 0),  # low, high and all sound
        *(0.56, 0.32),  # bass and all notes
        *(0.63, 0.26),  # change of harmony within half a bar, of all and of low notes
        *(0.44, 0.1),  # the same within a beat
        -0.27,  # the beat
        *(2.11, 0.79),  # first sound, there and a beat before
    ]
)


def first_downbeat(features: Features, bpm: float, beats_per_bar: int) -> float:
    """When the first bar begins, in seconds: from 0 to less than a bar."""
    phases, columns = evidence(features, bpm, beats_per_bar)
    first = float(phases[(columns @ WEIGHTS).argmax()])
    return 0.0 if min(first, beats_per_bar * 60 / bpm - first) < MIN_FIRST_BAR else first


def evidence(features: Features, bpm: float, beats_per_bar: int) -> tuple[Array, Array]:
    """Candidates (n,) in seconds, from 0 to less than a bar, and the features of each (n, 12) that WEIGHTS weighs."""
    onsets = enhance(features.onset_envelopes)
    cqt = compress(features.cqt)
    times = np.arange(onsets.shape[1]) / ONSET_FRAME_RATE
    cqt_times = np.arange(cqt.shape[1]) / CQT_FRAME_RATE
    beat = 60 / bpm
    bar = beats_per_bar * beat
    phases = np.arange(0, bar, 1 / ONSET_FRAME_RATE)

    def strength(row: Array, period: float) -> Array:
        """The mean of a row at each phase and every period after it, in standard deviations from its mean."""
        starts = np.arange(0, max(period, times[-1] - bar), period)
        means = np.interp(phases[:, None] + starts, times, row).mean(axis=1)
        return np.asarray((means - means.mean()) / max(float(means.std()), 1e-9))

    rows = [*onsets]
    slow = [flux(cqt[:BASS_SEMITONES]), flux(cqt)]
    for seconds in (bar / 2, beat):
        span = max(2, int(seconds * CQT_FRAME_RATE))
        slow += [chroma_novelty(register, span) for register in (cqt, cqt[:BASS_AND_TENOR_SEMITONES])]
    rows += [np.interp(times, cqt_times, row) for row in slow]
    beats = strength(onsets[2], beat) + strength(onsets[0], beat)
    strongest = int(beats[: max(1, round(beat * ONSET_FRAME_RATE))].argmax()) / ONSET_FRAME_RATE
    candidates = (strongest + np.arange(2 * beats_per_bar) * beat / 2) % bar
    around = np.round(candidates * ONSET_FRAME_RATE).astype(int)[:, None] + np.arange(-NEAR, NEAR + 1)
    near = [votes[around % len(phases)].max(axis=1) for votes in (*(strength(row, bar) for row in rows), beats)]
    for upbeat in (0.0, beat):
        distance = (candidates - features.first_sound - upbeat + bar / 2) % bar - bar / 2
        near.append(np.exp(-((distance / FIRST_SOUND_SPREAD) ** 2)))
    return candidates, np.stack(near, axis=1)
