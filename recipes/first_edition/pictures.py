"""Spectrograms side by side."""

from __future__ import annotations

from pathlib import Path

import librosa
import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib import pyplot


def draw_spectrograms(
    rows: list[tuple[str, np.ndarray, np.ndarray, np.ndarray]], rate: int, path: Path, seconds: float = 6.0
) -> None:
    """A row a piece: name, then the mel spectrograms of reference, reconstruction and generation, mono `[samples]`."""
    figure, axes = pyplot.subplots(len(rows), 3, figsize=(15, 1.7 * len(rows)), squeeze=False, sharex=True)
    for line, (name, *sounds) in zip(axes, rows, strict=True):
        for axis, title, sound in zip(line, ("reference", "reconstruction", "generation"), sounds, strict=True):
            part = sound[: int(seconds * rate)] / max(float(np.abs(sound).max()), 1e-6)
            mel = librosa.feature.melspectrogram(y=part, sr=rate, n_fft=2048, hop_length=256, n_mels=96)
            level = librosa.power_to_db(mel, ref=200.0, top_db=None)
            axis.imshow(level, origin="lower", aspect="auto", vmin=-70, vmax=0, extent=(0, seconds, 0, 96))
            axis.set_yticks([])
            axis.set_title(f"{name}: {title}", fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=70)
    pyplot.close(figure)
