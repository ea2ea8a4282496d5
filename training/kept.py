"""A cache of results of earlier jobs, named by the contents of their inputs, in files beside the cached examples.

The folder of cached examples names the checkpoint, the device and the version of the model's code. Its size is limited
(`training.examples.prune`).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.whole_files import replacing

Array = NDArray[Any]


def file_of(folder: Path, inputs: object, *modules: ModuleType) -> Path:
    """The file of the result that `modules` compute from `inputs`, which have a `repr` that tells them apart."""
    digest = hashlib.sha256(repr(inputs).encode())
    for module in modules:
        digest.update(Path(str(module.__file__)).read_bytes())
    return folder / f"{digest.hexdigest()}.npy"


def digest_of(audio: NDArray[np.float32]) -> str:
    """Names audio by its contents."""
    return hashlib.sha256(np.ascontiguousarray(audio).data).hexdigest()


def kept(file: Path | None, compute: Callable[[], Array]) -> Array:
    """The result in the file; computed if there is none, or it is damaged. Without a file it is always computed."""
    found = None if file is None else read(file)
    if found is None:
        found = compute()
        if file is not None:
            write(file, found)
    return found


def read(file: Path) -> Array | None:
    """The result in the file, None if there is none, or it is damaged."""
    with suppress(OSError, ValueError, EOFError):  # EOFError: an empty file
        values: Array = np.load(file, allow_pickle=False)
        os.utime(file)
        return values
    return None


def write(file: Path, values: Array) -> None:
    """Keep a result. One that cannot be written is computed again."""
    with suppress(OSError), replacing(file) as new:
        np.save(new, values)
