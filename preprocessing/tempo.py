"""The tempo of a song, by the periodicities of its onsets and of its harmony.

Candidates are the tempos at whose beat period the onset envelope is periodic. Which of them a listener would tap (the
octave problem) is decided by autocorrelation and Fourier tempogram of low, high and all sound, of bass notes and of
chord changes at fractions and multiples of the beat, and by a preference for moderate tempos (D. Moelants, Preferred
tempo reconsidered, 2002; P. Grosche, M. Müller, Extracting predominant local pulse information, 2011).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft

from preprocessing.conditional_logit import probabilities
from preprocessing.features import CQT_FRAME_RATE, ONSET_FRAME_RATE, Features
from preprocessing.novelty import BASS_SEMITONES, above_local_mean, chroma_novelty, compress, enhance, flux

Array = NDArray[np.float64]

SLOWEST_BPM, FASTEST_BPM = 50.0, 220.0
MAX_CANDIDATES = 18
SAME_TEMPO = 0.04  # candidates that differ by less are one tempo
MIN_ALTERNATIVE_CONFIDENCE = 0.1
PREFERRED_BPM = 115.0
MIN_PERIODICITY = 0.05  # sum of the autocorrelation at one, two and four beats, or at one, three and six
HARMONY_SPAN = 4  # constant-Q frames before and after a chord change, 0.37 s

# Multiples of the beat's period at which the autocorrelation is read, and of its frequency for the tempogram. Bass and
# harmony are read from constant-Q frames, which are too slow for fractions of a beat.
ONSET_LAGS, HARMONY_LAGS = (0.25, 0.5, 1, 1.5, 2, 3, 4, 8), (1, 1.5, 2, 3, 4, 8)
ONSET_FREQUENCIES = (1 / 4, 1 / 3, 1 / 2, 2 / 3, 3 / 4, 1, 3 / 2, 2, 3, 4)
HARMONY_FREQUENCIES = ONSET_FREQUENCIES[:8]
ONSET_ROWS = 3

TEMPOGRAM_SECONDS, TEMPOGRAM_HOP_SECONDS = 8.0, 2.0
TEMPOGRAM_SIZE = 4096  # of the zero-padded Fourier transform

# One weight for each column of `evidence`; see preprocessing.conditional_logit.
WEIGHTS = np.array(
    [
        *(-5.57, -1.45, -3.72, -0.09, -3.87, 3.52, 5.57, 1.59),  # low sound, autocorrelation
        *(2.2, 1.66, 2.68, -1.19, -0.99, -1.25, -0.45, -0.4),  # high sound
        *(2.38, 2.87, 1.31, -1.11, -1.92, -0.62, 1.59, 1.14),  # all sound
        *(-3.34, -3.25, -2.08, 1.75, 0.38, -1.88),  # bass notes
        *(-4.05, -5.55, 5.81, 3.34, 3.95, 1.48),  # harmony
        *(-6.48, 13.48, 13.27, 11.26, -15.59, -0.44, -8.09, 18.92, -10.01, 14.7),  # low sound, tempogram
        *(5.17, -12.85, -1.51, 4.42, -4.15, 9.24, -3.57, 15.07, -14.75, 25.43),  # high sound
        *(16.44, 0.34, 13.32, -4.55, -15.36, 11.5, -5.96, 17.47, -3.77, 22.21),  # all sound
        *(-23.07, 6.05, 13.52, -9.71, 6.55, -5.99, -17.46, 6.77),  # bass notes
        *(-1.54, 18.22, 13.47, 2.49, 10.63, -13.24, -0.12, 2.36),  # harmony
        *(-0.64, -2.15),  # octaves above PREFERRED_BPM, and their square
    ]
)


@dataclass(frozen=True)
class Tempo:
    """A tempo in beats per minute.

    Attributes:
        confidence: the probability that it is right.
        alternative: the second most probable tempo, often twice or half; None if it is improbable.
    """

    bpm: float
    confidence: float
    alternative: Tempo | None = None

    @property
    def rounded(self) -> float:
        """To half a beat a minute, so that one song has one tempo however it is encoded."""
        return round(2 * self.bpm) / 2


def estimate_tempo(features: Features) -> Tempo | None:
    """The song's tempo, None if its onsets are not periodic."""
    tempos, columns = evidence(features)
    if not len(tempos):
        return None
    onsets = enhance(features.onset_envelopes)[2]
    shares = probabilities(columns, WEIGHTS)
    best, confidence, others = _most_probable(tempos, shares)
    second, second_confidence, _ = _most_probable(tempos, others)
    alternative = None
    if second_confidence >= MIN_ALTERNATIVE_CONFIDENCE:
        alternative = Tempo(refine(onsets, second), second_confidence)
    return Tempo(refine(onsets, best), confidence, alternative)


def _most_probable(tempos: Array, shares: Array) -> tuple[float, float, Array]:
    """The most probable tempo, the probability of all candidates that are the same tempo, and what the others share."""
    best = tempos[shares.argmax()]
    same = np.abs(tempos / best - 1) <= SAME_TEMPO
    return float(best), float(shares[same].sum()), np.where(same, 0.0, shares)


def evidence(features: Features) -> tuple[Array, Array]:
    """Candidate tempos (n,) in beats per minute, and the features of each (n, 84) that WEIGHTS weighs."""
    rows = _rows(features)
    correlations = [_autocorrelation(row) for row in rows]
    tempos = _candidates(correlations[2])
    columns = []
    for correlation in correlations[:ONSET_ROWS]:
        columns += [_at_lag(correlation, multiple, tempos) for multiple in ONSET_LAGS]
    for correlation in correlations[ONSET_ROWS:]:
        columns += [_at_lag(correlation, multiple, tempos) for multiple in HARMONY_LAGS]
    for number, row in enumerate(rows):
        tempogram = _tempogram(row)
        multiples = ONSET_FREQUENCIES if number < ONSET_ROWS else HARMONY_FREQUENCIES
        columns += [_at_frequency(tempogram, multiple, tempos) for multiple in multiples]
    octaves = np.log2(tempos / PREFERRED_BPM)
    return tempos, np.stack([*columns, octaves, octaves**2], axis=1)


def _rows(features: Features) -> Array:
    """Onsets of low, high and all sound, of bass notes, and of chords: (5, frames) at ONSET_FRAME_RATE."""
    onsets = enhance(features.onset_envelopes)
    cqt = compress(features.cqt)
    times = np.arange(onsets.shape[1]) / ONSET_FRAME_RATE
    cqt_times = np.arange(cqt.shape[1]) / CQT_FRAME_RATE
    slow = [flux(cqt[:BASS_SEMITONES]), chroma_novelty(cqt, HARMONY_SPAN)]
    resampled = np.stack([np.interp(times, cqt_times, row) for row in slow])
    return np.concatenate([onsets, above_local_mean(resampled, 1.0)])


def _candidates(correlation: Array) -> Array:
    """The tempos with the highest autocorrelation at two or three beats and their double."""
    tempos = np.exp(np.arange(np.log(SLOWEST_BPM), np.log(FASTEST_BPM), 0.01))
    beats = {multiple: _at_lag(correlation, multiple, tempos) for multiple in (1, 2, 3, 4, 6)}
    comb = beats[1] + np.maximum(beats[2] + beats[4], beats[3] + beats[6])
    peaks = np.flatnonzero((comb[1:-1] > MIN_PERIODICITY) & (comb[1:-1] >= comb[:-2]) & (comb[1:-1] >= comb[2:])) + 1
    return np.asarray(tempos[peaks[np.argsort(-comb[peaks])[:MAX_CANDIDATES]]])


def _autocorrelation(row: Array) -> Array:
    """Normalised: 1 at lag 0. The last lag is the slowest beat's largest multiple, or half the song."""
    row = row - row.mean()
    size = next_fast_len(2 * len(row), real=True)
    lags = min(len(row) // 2, round(ONSET_LAGS[-1] * 60 / SLOWEST_BPM * ONSET_FRAME_RATE) + 2)
    products = irfft(np.abs(rfft(row, size)) ** 2, size)[:lags]
    return products / (len(row) - np.arange(lags)) * len(row) / max(float(products[0]), 1e-9)


def _at_lag(correlation: Array, multiple: float, tempos: Array) -> Array:
    """The highest autocorrelation within a frame of a multiple of each tempo's beat; 0 beyond the last lag."""
    lags = multiple * 60 / tempos * ONSET_FRAME_RATE
    frames = np.arange(len(correlation))
    return np.max([np.interp(lags + shift, frames, correlation, right=0.0) for shift in (-1, -0.5, 0, 0.5, 1)], axis=0)


def _tempogram(row: Array) -> Array:
    """The mean magnitude of windows' Fourier transforms, (TEMPOGRAM_SIZE / 2 + 1,); about 1 for a pure period."""
    frames = round(TEMPOGRAM_SECONDS * ONSET_FRAME_RATE)
    row = row - row.mean()
    row = np.pad(row, (0, max(0, frames - len(row))))
    window = np.hanning(frames)
    hop = round(TEMPOGRAM_HOP_SECONDS * ONSET_FRAME_RATE)
    windows = np.lib.stride_tricks.sliding_window_view(row, frames)[::hop]
    magnitudes = np.abs(rfft(windows * window, TEMPOGRAM_SIZE, axis=1)).mean(axis=0)
    power = np.mean(row**2) * frames * np.sum(window**2)
    return np.asarray(magnitudes / max(float(np.sqrt(power)), 1e-9))


def _at_frequency(tempogram: Array, multiple: float, tempos: Array) -> Array:
    """The highest magnitude within 1 % of a multiple of each tempo's beat frequency."""
    frequencies = np.arange(len(tempogram)) * ONSET_FRAME_RATE / TEMPOGRAM_SIZE
    wanted = multiple * tempos / 60
    return np.max([np.interp(wanted * factor, frequencies, tempogram) for factor in (0.99, 1, 1.01)], axis=0)


def refine(envelope: Array, bpm: float) -> float:
    """The tempo within 1.5 % of `bpm` with the most Fourier energy at its beats, halves and quarters of beats."""
    times = np.arange(len(envelope)) / ONSET_FRAME_RATE
    envelope = envelope - envelope.mean()
    step = 60 / (8 * times[-1])
    near = np.arange(bpm * 0.985, bpm * 1.015, step)
    energies = [
        sum(abs(envelope @ np.exp(-2j * np.pi * tempo / 60 * part * times)) for part in (1, 2, 4)) for tempo in near
    ]
    best = int(np.argmax(energies))
    if not 0 < best < len(near) - 1:
        return bpm
    before, peak, after = energies[best - 1 : best + 2]
    return float(near[best] + step * (before - after) / (2 * (before - 2 * peak + after)))  # parabolic interpolation
