"""Music that a model makes for the report: previews, and pieces with and without the twin."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from contract import SamplingOptions
from models.base import Model, Row, Text

_FIRST_SEED = 0
_BATCH = 8


def play(
    model: Model, texts: Sequence[Text], seconds: float, check_stop: Callable[[], None] = lambda: None
) -> list[NDArray[np.float32]]:
    """A piece `[channels, samples]` for each text, with fixed seeds, by the model with its adapter as it is now.

    Args:
        check_stop: called before each batch; it may raise to stop.
    """
    rows = [Row(text, seconds, SamplingOptions(seed=_FIRST_SEED + number)) for number, text in enumerate(texts)]
    pieces: list[NDArray[np.float32]] = []
    for start in range(0, len(rows), _BATCH):
        check_stop()
        for track in model.generate(rows[start : start + _BATCH]):
            if isinstance(track, Exception):
                raise track
            pieces.append(track)
    return pieces
