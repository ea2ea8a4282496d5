"""How a checkpoint was trained, as far as twins should be trained likewise."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

# In the folder of a checkpoint that has other traits than the default ones. The authors' checkpoints have no such file.
TRAITS_FILE = "training.json"


@dataclass(frozen=True)
class Traits:
    """The traits of a checkpoint's training music.

    Attributes:
        clock: its clips began on a bar, and it counts the beats of the prompt's tempo from the beginning of a track.
            Twins are then trained on clips that begin on a bar too.
        loudness: of its clips, in LUFS. The default is what streaming services play at.
        max_true_peak: the highest true peak of a clip that its codec takes, in dBTP.
    """

    clock: bool = False
    loudness: float = -14.0
    max_true_peak: float = -1.0

    @classmethod
    def of(cls, folder: Path) -> Traits:
        """Those that the checkpoint in `folder` states, and otherwise the default ones."""
        own = folder / TRAITS_FILE
        return cls(**json.loads(own.read_text())) if own.exists() else cls()


DEFAULT_TRAITS = Traits()
