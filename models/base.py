"""What every backend's model offers to its runner and to its trainer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

    from models.adapters import AdapterWeights
    from models.checkpoints import Checkpoint

# What one row came to: its audio, float32 `[channels, samples]` within ±1, or why that row alone failed.
Track = NDArray[np.float32] | Exception


@dataclass(frozen=True)
class Text:
    """What the conditioner reads, in training and in generation alike.

    Attributes:
        prompt: the caption or the artist's prompt.
        lyrics: empty for instrumental music.
        bpm: beats per minute.
        key: such as `A minor`.
        time_signature: the numerator, such as `4`.
    """

    prompt: str
    lyrics: str = ""
    bpm: int | None = None
    key: str | None = None
    time_signature: str | None = None


@dataclass(frozen=True)
class Row:
    """One request, as a row of a batch. `None` leaves the choice to the model.

    Attributes:
        text: what to play.
        seconds: how long.
        seed: the same row with the same seed gives the same audio, alone or among others.
        steps: denoising steps, for models that denoise.
        guidance: classifier-free guidance scale.
        adapters: the twins of this row, each with its strength; empty for the base model.
    """

    text: Text
    seconds: float
    seed: int
    steps: int | None = None
    guidance: float | None = None
    adapters: Sequence[tuple[AdapterWeights, float]] = ()


class Model(Protocol):
    """A loaded checkpoint. It is not safe to call from two threads at once."""

    backend: ClassVar[str]
    sample_rate: int
    channels: int

    @property
    def device(self) -> torch.device: ...

    @property
    def dtype(self) -> torch.dtype: ...

    @classmethod
    def load(cls, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype) -> Self:
        """Load with `from_pretrained` from the checkpoint's folder. Raises `CheckpointError` if it does not fit."""
        ...

    @property
    def adapted(self) -> torch.nn.Module:
        """The module whose Linear layers adapters change."""
        ...

    def file_name(self, module: str) -> str:
        """The name that adapter files give to the Linear layer `module` of `adapted`."""
        ...

    def generate(self, rows: Sequence[Row]) -> list[Track]:
        """Make the audio of every row, in order. A row that fails does not touch the others."""
        ...
