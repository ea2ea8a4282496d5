"""Mel spectrograms side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import librosa
import matplotlib
import numpy as np

from training.evaluation.audio_measures import Audio

_RANGE_DB = 70


def draw_spectrograms(columns: Mapping[str, Sequence[Audio]], rate: int, path: Path) -> None:
    """A picture of a column for each name, with a row for each of its clips."""
    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = max(map(len, columns.values()))
    figure, axes = pyplot.subplots(rows, len(columns), figsize=(5 * len(columns), 1.8 * rows), squeeze=False)
    for column, (name, clips) in enumerate(columns.items()):
        axes[0, column].set_title(name, fontsize=9)
        for row, clip in enumerate(clips):
            mel = librosa.feature.melspectrogram(y=clip, sr=rate, n_fft=2048, hop_length=256, n_mels=96)
            level = librosa.power_to_db(mel, ref=np.max, top_db=_RANGE_DB)
            axes[row, column].imshow(level, origin="lower", aspect="auto", extent=(0, len(clip) / rate, 0, 96))
            axes[row, column].set_yticks([])
    figure.tight_layout()
    figure.savefig(path, dpi=80, metadata={"Date": None})
    pyplot.close(figure)
