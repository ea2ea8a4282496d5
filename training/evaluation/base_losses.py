"""The losses of the base model, kept for later jobs on the same music."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from training import loop
from training.evaluation import losses
from training.examples import Examples
from training.kept import file_of, kept
from training.loop import Session


def measure_base(
    session: Session, examples: Examples, seed: str, draws: int, check_stop: Callable[[], None]
) -> NDArray[np.float64]:
    """The result of `losses.measure` for the base model, `[examples]`."""

    def measure() -> NDArray[np.float64]:
        with session.disable_adapter():
            return losses.measure(session, examples, seed, draws, check_stop)

    file = examples.folder and file_of(examples.folder, (examples.digests, seed, draws), loop, losses)
    return kept(file, measure)
