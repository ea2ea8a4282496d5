"""Reference music of no producer, the same for every job: the loss on it shows what a twin has forgotten.

The files were rendered by `python -m recipes.synthesiser.reference`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.base import Text
from preprocessing.segment import resampled

FOLDER = Path(__file__).parent / "reference_music"


def pieces(rate: int, channels: int) -> Iterator[tuple[NDArray[np.float32], Text]]:
    """A piece of 10 s for each genre, `[channels, samples]` at `rate` Hz, with its text."""
    for name, text in json.loads((FOLDER / "prompts.json").read_text()).items():
        audio = np.concatenate(list(resampled(FOLDER / name, rate, channels)))
        yield np.ascontiguousarray(audio.T), Text(**text)
