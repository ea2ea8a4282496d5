"""How a checkpoint was trained, as far as twins should be trained likewise."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from pydantic import ConfigDict, NonNegativeFloat, NonNegativeInt, TypeAdapter, ValidationError

from contract.tasks import Task
from models.checkpoints import TRAITS_FILE, CheckpointError


@dataclass(frozen=True)
class Traits:
    """The traits of a checkpoint's training music.

    Attributes:
        clock: its clips began on a bar, and it counts the beats of the prompt's tempo from the beginning of a track.
            Twins are then trained on clips that begin on a bar too.
        loudness: of its clips, in LUFS. The default is what streaming services play at.
        max_true_peak: the highest true peak of a clip that its codec takes, in dBTP.
        level_channels: how many of the first channels of its latents hold loudness; 0 if none do.
        tasks: those that it was trained for; None for all that its parts allow.
        reference: whether it was trained to follow a reference recording; None if its parts decide.
        reference_gain: how far a reference's timbre is taken from that of silence; 1 as the timbre encoder gives it.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    clock: bool = False
    loudness: float = -14.0
    max_true_peak: float = -1.0
    level_channels: NonNegativeInt = 0
    tasks: tuple[Task, ...] | None = None
    reference: bool | None = None
    reference_gain: NonNegativeFloat = 1.0

    @classmethod
    def of(cls, folder: Path) -> Traits:
        """Those that the checkpoint in `folder` states, and otherwise the default ones.

        Raises:
            CheckpointError: the file has an unknown field, or a value of another type.
        """
        file = folder / TRAITS_FILE
        if not file.exists():
            return cls()
        try:
            return TypeAdapter(cls).validate_json(file.read_bytes())
        except ValidationError as error:
            problem = error.errors()[0]
            field = "".join(f"{name}: " for name in problem["loc"])
            raise CheckpointError(f"{file}: {field}{problem['msg']}") from error


DEFAULT_TRAITS = Traits()
