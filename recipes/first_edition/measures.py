"""Measures of audio: pulse, tempo, key, drums, timbre, and the error of a reconstruction."""

from __future__ import annotations

import librosa
import numpy as np
from librosa.onset import onset_strength
from scipy.signal import butter, sosfiltfilt

from preprocessing.musical_key import KRUMHANSL_PROFILES, MODES

from .data import SAMPLE_RATE

RATE = 22_050
"""Samples a second, for all measures by librosa."""
HOP = 256


def onsets(audio: np.ndarray) -> np.ndarray:
    """The onset envelope of mono audio at `RATE`, `[frames]`."""
    return onset_strength(y=audio, sr=RATE, hop_length=HOP)


def pulse(strength: np.ndarray, bpm: float) -> float:
    """Autocorrelation of the onset envelope at a tempo: the largest within one lag of 1, 2 or 4 beats."""
    centred = strength - strength.mean()
    correlation = np.correlate(centred, centred, "full")[len(centred) - 1 :]
    correlation = correlation / (correlation[0] + 1e-9)
    beat = 60 / bpm * RATE / HOP
    lags = [round(beat * beats) for beats in (1, 2, 4)]
    return float(max(correlation[max(1, lag - 1) : lag + 2].max(initial=-1) for lag in lags))


def tempo(strength: np.ndarray) -> float:
    """Beats a minute."""
    return float(np.atleast_1d(librosa.feature.tempo(onset_envelope=strength, sr=RATE, hop_length=HOP))[0])


def tempo_error(measured: float, bpm: float) -> float:
    """Relative error, where half and double time count as right."""
    return min(abs(measured * fold - bpm) / bpm for fold in (0.5, 1, 2))


def key(audio: np.ndarray) -> tuple[int, str]:
    """Tonic pitch class and mode of mono audio at `RATE`."""
    chroma = librosa.feature.chroma_stft(y=audio, sr=RATE, n_fft=4096, hop_length=2048).mean(1)
    scores = [
        (np.corrcoef(np.roll(profile, root), chroma)[0, 1], root, mode)
        for root in range(12)
        for profile, mode in zip(KRUMHANSL_PROFILES, MODES, strict=True)
    ]
    _, root, mode = max(scores)
    return root, mode


def same_key(a: tuple[int, str], b: tuple[int, str]) -> bool:
    """Whether two keys have the same notes: a key and its relative count as one, so chance is 1 in 12."""

    def major(root: int, mode: str) -> int:
        return root if mode == "major" else (root + 3) % 12

    return major(*a) == major(*b)


def drum_strength(audio: np.ndarray) -> float:
    """Spectral flux above 4 kHz relative to the whole, high with drums. Mono audio at `RATE`."""
    power = np.abs(librosa.stft(audio, n_fft=1024, hop_length=HOP)) ** 2
    high = np.sqrt(power[int(4000 * 1024 / RATE) :].sum(0))
    return float(np.maximum(np.diff(high), 0).sum() / (np.sqrt(power.sum(0)).sum() + 1e-9))


def timbre(audio: np.ndarray) -> np.ndarray:
    """Level, spread and movement of 48 mel bands of mono audio at `RATE`, `[144]`."""
    mel = librosa.feature.melspectrogram(y=audio, sr=RATE, n_fft=1024, hop_length=512, n_mels=48, fmax=10_500)
    level = np.log10(mel + 1e-4)
    level = np.maximum(level - level.max(), -6)
    return np.concatenate([level.mean(1), level.std(1), np.abs(np.diff(level, axis=1)).mean(1)])


def genre_features(audio: np.ndarray, strength: np.ndarray) -> np.ndarray:
    """Features of the genre classifier: timbre, and the autocorrelation of onsets at lags up to 1.4 s, `[264]`."""
    centred = strength - strength.mean()
    correlation = np.correlate(centred, centred, "full")[len(centred) - 1 :]
    return np.concatenate([timbre(audio), correlation[1:121] / (correlation[0] + 1e-9)])


def si_sdr(estimate: np.ndarray, reference: np.ndarray) -> float:
    """Scale-invariant signal-to-distortion ratio in dB."""
    target = reference * (estimate @ reference) / (reference @ reference + 1e-12)
    return float(10 * np.log10((target @ target + 1e-12) / (np.sum((estimate - target) ** 2) + 1e-12)))


def band(audio: np.ndarray, low: float, high: float, rate: int) -> np.ndarray:
    """The part of `audio` between two frequencies in Hz."""
    sos = butter(4, [low, min(high, 0.49 * rate)], "bandpass", fs=rate, output="sos")
    return sosfiltfilt(sos, audio)


def level_difference(estimate: np.ndarray, reference: np.ndarray) -> float:
    """Energy of `estimate` above that of `reference`, in dB."""
    return float(10 * np.log10((np.sum(estimate**2) + 1e-12) / (np.sum(reference**2) + 1e-12)))


def reconstruction_table(audio: np.ndarray, estimate: np.ndarray, rate: int = SAMPLE_RATE) -> dict[str, float]:
    """Mean SI-SDR in dB, broadband and in bands, and the high bands' level in dB, of mono `[B, T]`."""
    table = {"si_sdr": float(np.mean([si_sdr(y, x) for y, x in zip(estimate, audio, strict=True)]))}
    for low, high in ((20, 150), (150, 500), (500, 3000), (500, 1500), (1500, 3000), (3000, 6000)):
        a, b = (band(x, low, high, rate) for x in (estimate, audio))
        table[f"si_sdr_{low}_{high}"] = float(np.mean([si_sdr(y, x) for y, x in zip(a, b, strict=True)]))
    for low, high in ((3000, 6000), (6000, 12_000)):
        a, b = (band(x, low, high, rate) for x in (estimate, audio))
        table[f"level_{low}_{high}"] = level_difference(a, b)
    return {name: round(value, 2) for name, value in table.items()}
