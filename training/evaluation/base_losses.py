"""The losses of the base model, kept beside the examples: a later job on the same music does not measure them again.

The folder of cached examples names the checkpoint, the device and the version of the model's code.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training import loop
from training.evaluation import losses
from training.examples import Examples
from training.loop import Session


def measure_base(
    session: Session, examples: Examples, seed: str, check_stop: Callable[[], None]
) -> NDArray[np.float64]:
    """The result of `losses.measure` for the base model, `[examples]`."""
    file = _file(examples, seed)
    with suppress(OSError, ValueError, EOFError):  # EOFError: an empty file
        kept: NDArray[np.float64] = np.load(file, allow_pickle=False)
        if kept.shape == (len(examples),):
            os.utime(file)
            return kept
    with session.disable_adapter():
        measured = losses.measure(session, examples, seed, check_stop=check_stop)
    with suppress(OSError):  # a loss that is not kept is measured again
        _write(file, measured)
    return measured


def _file(examples: Examples, seed: str) -> Path:
    digest = hashlib.sha256(repr((examples.digests, seed)).encode())
    for module in (loop, losses):
        digest.update(Path(str(module.__file__)).read_bytes())
    return examples.paths[0].parent / f"{digest.hexdigest()}.npy"


def _write(file: Path, values: NDArray[np.float64]) -> None:
    new = file.with_name(f".{uuid.uuid4().hex}.npy")
    try:
        np.save(new, values)
        new.replace(file)
    finally:
        new.unlink(missing_ok=True)
