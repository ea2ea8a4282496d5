"""Reference music of no producer, the same for every job: the loss on it shows what a twin has forgotten.

The files were rendered by `python -m recipes.synthesiser.reference`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from math import gcd
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray
from scipy.signal import resample_poly

from models.base import Text

FOLDER = Path(__file__).parent / "reference_music"


def pieces(rate: int, channels: int) -> Iterator[tuple[NDArray[np.float32], Text]]:
    """A piece of 10 s for each genre, `[channels, samples]` at `rate` Hz, with its text.

    Args:
        channels: 1 or 2.
    """
    for name, text in json.loads((FOLDER / "prompts.json").read_text()).items():
        audio, stored_rate = soundfile.read(FOLDER / name, dtype="float32", always_2d=True)
        if channels == 1:
            audio = audio.mean(axis=1, keepdims=True)
        common = gcd(rate, stored_rate)
        resampled = resample_poly(audio, rate // common, stored_rate // common, axis=0)
        yield np.ascontiguousarray(resampled.T, np.float32), Text(**text)
