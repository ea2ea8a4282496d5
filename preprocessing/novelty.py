"""Novelty of a song over time: where sound, bass notes and harmony set in or change."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from preprocessing.features import ONSET_FRAME_RATE

Array = NDArray[np.float64]

BASS_SEMITONES = 24  # from C1


def enhance(envelopes: NDArray[np.float32]) -> Array:
    """Onset envelopes (3, frames) above their local mean, smoothed."""
    return gaussian_filter1d(above_local_mean(envelopes, 0.5), 1.0, axis=1).astype(np.float64)


def above_local_mean(rows: NDArray[np.floating], seconds: float) -> NDArray[np.floating]:
    """Rows (n, frames), ONSET_FRAME_RATE frames a second, less their mean within about `seconds`, rectified."""
    return np.maximum(0, rows - gaussian_filter1d(rows, seconds * ONSET_FRAME_RATE, axis=1))


def compress(cqt: NDArray[np.float32]) -> NDArray[np.float32]:
    """Constant-Q magnitudes (84, frames) as logarithms, so that quiet notes count."""
    return np.log1p(100 * cqt / cqt.max())


def flux(cqt: NDArray[np.floating]) -> Array:
    """How much louder the notes get around each frame, (frames,)."""
    padded = np.pad(cqt, ((0, 0), (1, 1)), mode="edge")
    return np.maximum(0, padded[:, 2:] - padded[:, :-2]).sum(axis=0, dtype=np.float64)


def chroma_novelty(cqt: NDArray[np.floating], span: int) -> Array:
    """Cosine distance of the chroma of the next `span` frames from that of the `span` frames before, (frames,)."""
    chroma = cqt.reshape(-1, 12, cqt.shape[1]).sum(axis=0, dtype=np.float64)
    sums = np.cumsum(np.pad(chroma / np.maximum(np.linalg.norm(chroma, axis=0), 1e-9), ((0, 0), (span + 1, span))), 1)
    frames = chroma.shape[1]
    before = sums[:, span : span + frames] - sums[:, :frames]
    after = sums[:, 2 * span : 2 * span + frames] - sums[:, span : span + frames]
    norms = np.linalg.norm(before, axis=0) * np.linalg.norm(after, axis=0)
    novelty = 1 - (before * after).sum(axis=0) / np.maximum(norms, 1e-9)
    novelty[:span] = novelty[-span:] = 0.0  # there, one of the two spans is cut off
    return np.asarray(novelty)
