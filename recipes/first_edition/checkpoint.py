"""A starter's checkpoint, loaded as the service loads it, for evaluation and adaptation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch

from adapters.weights import AdapterWeights
from contract import SamplingOptions
from models.base import Edit, Model, Recording, Row, Text
from models.checkpoints import resolve
from runners import TABLE
from training.base import Trainer


@dataclass(frozen=True)
class LoadedStarter:
    """A loaded checkpoint.

    Attributes:
        model: as a runner loads it.
        trainer: as the training service uses it.
        reconstruct: mono audio `[samples]` through the checkpoint's codec and back.
    """

    model: Model
    trainer: Trainer
    reconstruct: Callable[[np.ndarray], np.ndarray]

    def generate(
        self,
        text: Text,
        seconds: float,
        seed: int,
        adapters: Sequence[tuple[AdapterWeights, float]] = (),
        edit: Edit | None = None,
        reference: Recording | None = None,
        **sampling: Any,
    ) -> np.ndarray:
        """Mono audio `[samples]` at the model's rate; `sampling` are fields of `SamplingOptions`."""
        options = SamplingOptions(seed=seed, **sampling)
        (track,) = self.model.generate([Row(text, seconds, options, adapters, edit, reference)])
        if isinstance(track, Exception):
            raise track
        return np.asarray(track).mean(0)


def load_starter(backend: str, folder: Path, device: str) -> LoadedStarter:
    """Load the checkpoint of a backend from a folder."""
    row = next(row for row in TABLE if row.name == backend)
    checkpoint = resolve(str(folder.absolute()), backend, row.load_tiny())
    model = row.load_model_class().load(checkpoint, torch.device(device), torch.float32)
    codec = import_module(f"{__package__}.{backend}.codec")
    return LoadedStarter(model, row.load_trainer_class()(model), partial(codec.through, model))
