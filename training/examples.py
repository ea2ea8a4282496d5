"""The cache of examples on disk. A later job on the same music finds them there.

Training reads examples from disk when it needs them, so that hours of music take no more memory than minutes.
"""

from __future__ import annotations

import hashlib
import inspect
import logging
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save

from adapters.weights import linear_layers
from core.whole_files import replacing
from models.base import Model, Text
from models.checkpoints import Checkpoint, cache_folder
from training.base import Example, Trainer

log = logging.getLogger("producer_twin.training")

_MAX_CACHE_BYTES = 10 * 2**30
# More recently used files are kept, whatever the size of the cache.
_MIN_AGE_SECONDS = 86_400
_MAX_BYTES_IN_MEMORY = 32 * 2**20


class ExampleCache:
    """The examples of one checkpoint, on one kind of device, made by one version of the code.

    Attributes:
        folder: their files, and what else is kept for later jobs (`training.kept`).
    """

    def __init__(self, trainer: Trainer, model: Model, checkpoint: Checkpoint) -> None:
        self._trainer = trainer
        # Of quantised layers the base model's losses, which are kept beside the examples, are others.
        layers = sorted({type(layer).__name__ for layer in linear_layers(model.adapted).values()})
        version = f"{checkpoint.sha256} {model.device.type} {model.dtype} {layers} {_code_digest(trainer, model)}"
        self.folder = cache_folder() / "examples" / f"{model.backend}-{_digest(version.encode())[:16]}"
        self.folder.mkdir(parents=True, exist_ok=True)

    def add(self, audio: NDArray[np.float32], text: Text) -> Path:
        """Compute the clip's example unless it is cached. Returns its file.

        Args:
            audio: `[channels, samples]` at the model's sample rate and channels.
        """
        path = self.folder / f"{_digest(np.ascontiguousarray(audio), repr(text).encode())}.safetensors"
        if not _is_readable(path):
            example = self._trainer.example(audio, text)
            with replacing(path) as file:
                file.write(save({name: tensor.detach().cpu().contiguous() for name, tensor in example.items()}))
        os.utime(path)
        return path


class Examples(Sequence[Example]):
    """A sequence of examples in files. Those that are read first stay in memory, up to a limit."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = paths
        self._in_memory: dict[Path, Example] = {}
        self._bytes_left = _MAX_BYTES_IN_MEMORY

    def __len__(self) -> int:
        return len(self.paths)

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> Examples: ...
    def __getitem__(self, index: int | slice) -> Example | Examples:
        if isinstance(index, slice):
            return Examples(self.paths[index])
        path = self.paths[index]
        example = self._in_memory.get(path)
        if example is None:
            example = load_file(path)
            size = sum(tensor.nbytes for tensor in example.values())
            if size <= self._bytes_left:
                self._in_memory[path] = example
                self._bytes_left -= size
        return example

    @property
    def folder(self) -> Path | None:
        """The folder of the files, None if there are none."""
        return self.paths[0].parent if self.paths else None

    @property
    def digests(self) -> list[str]:
        """The digest of each example's audio and text."""
        return [path.stem for path in self.paths]


def prune() -> None:
    """Delete the least recently used files until the cache is within its size."""
    files = [(path.stat(), path) for path in (cache_folder() / "examples").rglob("*") if path.is_file()]
    excess = sum(status.st_size for status, _ in files) - _MAX_CACHE_BYTES
    for status, path in sorted(files, key=lambda file: file[0].st_mtime):
        if excess <= 0 or time.time() - status.st_mtime < _MIN_AGE_SECONDS:
            return
        path.unlink(missing_ok=True)
        excess -= status.st_size


def _is_readable(path: Path) -> bool:
    try:
        with safe_open(path, "pt"):
            return True
    except (OSError, SafetensorError):
        return False


def _code_digest(trainer: Trainer, model: Model) -> str:
    """The digest of the code that computes examples, since another version may compute others."""
    own = Path(inspect.getfile(type(model)))
    files = sorted(own.parent.glob("*.py")) if own.stem == "model" else [own]
    return _digest(*(file.read_bytes() for file in [*files, Path(inspect.getfile(type(trainer)))]))


def _digest(*parts: bytes | NDArray[np.float32]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part if isinstance(part, bytes) else part.data)
    return digest.hexdigest()
