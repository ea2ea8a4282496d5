"""How a row continues a recording: the codes of the recording's end are the prompt of the frames that follow."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from core.errors import Refusal
from models.base import Row
from models.musicgen import codec as coding
from models.musicgen.tokens import Windows


@dataclass(frozen=True)
class Continuation:
    """The frames of a row that continues a recording.

    Attributes:
        kept: the recording up to where it is continued, `[channels, samples]`.
        hop: samples of a frame.
        prompt: number of frames of its end that are the prompt.
        new: number of samples to generate.
    """

    kept: NDArray[np.float32]
    hop: int
    prompt: int
    new: int

    @classmethod
    def of(cls, row: Row, windows: Windows, sample_rate: int, hop: int) -> Continuation | None:
        """The row's continuation; None if it starts from text alone.

        Raises:
            Refusal: 400, the window does not come after the recording.
        """
        if row.edit is None or row.edit.task != "extend":
            return None
        start, total = round(row.edit.start * sample_rate), round(row.seconds * sample_rate)
        prompt = min(windows.overlap, start // hop)
        if not prompt or row.edit.before:
            raise Refusal(400, "before: musicgen continues a recording and cannot begin before it; send after")
        return cls(row.edit.source.samples[:, :start], hop, prompt, total - start)

    @property
    def frames(self) -> int:
        """The frames of the prompt and of what follows."""
        return self.prompt + math.ceil(self.new / self.hop)

    def codes(self, codec: Any) -> torch.Tensor:
        """The prompt's codes `[K, P]`."""
        end = self.kept[:, self.kept.shape[1] - self.prompt * self.hop :]
        return coding.encode(codec, np.ascontiguousarray(end))[:, : self.prompt]

    def joined(self, wave: NDArray[np.float32]) -> NDArray[np.float32]:
        """The recording with what follows of the decoded frames `[channels, frames × hop]`, within ±1.

        Raises:
            FloatingPointError: a sample is not finite.
        """
        new = wave[:, self.prompt * self.hop :][:, : self.new]
        if not np.isfinite(new).all():
            raise FloatingPointError("the model made samples that are not finite")
        return np.concatenate([self.kept, np.clip(new, -1, 1)], axis=1)
