"""Training of both codecs: random cuts from a pool of songs, AdamW, and reports on held-out songs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from .data import TRAINING, Pool, held_back
from .measures import reconstruction_table
from .state import Checkpoints, learning_rate

RENEW_EVERY = 3


class CodecTraining:
    """A codec's optimiser, song pool and step number, saved in `path`.

    Args:
        write: saves the codec for the next stages.
        reconstruct: encodes and decodes mono audio `[B, T]`.
    """

    def __init__(
        self,
        codec: nn.Module,
        path: Path,
        rate: float,
        steps: int,
        write: Callable[[], None],
        reconstruct: Callable[[np.ndarray], np.ndarray],
    ) -> None:
        self.codec, self.rate, self.steps = codec, rate, steps
        self._write, self._reconstruct = write, reconstruct
        self._checkpoints = Checkpoints(path)
        self._saved = self._checkpoints.load()
        self.first: int = self._saved["step"] if self._saved else 0
        self.pool = Pool(TRAINING, renewals=self.first // RENEW_EVERY)
        self._name, self._mean_loss = path.stem, 0.0
        if self._saved:
            codec.load_state_dict(self._saved["codec"])

    def begin(self, parameters: list[nn.Parameter]) -> None:
        """Set the parameters to train, which must be on the device."""
        self._parameters = parameters
        self._optimizer = torch.optim.AdamW(parameters, lr=self.rate, betas=(0.8, 0.98), weight_decay=1e-4, fused=True)
        if self._saved:
            self._optimizer.load_state_dict(self._saved["optimizer"])
        self._saved = None

    def cuts(self, step: int, count: int, samples: int) -> torch.Tensor:
        """The step's audio `[count, 1, samples]`. Seeds torch by the step as well."""
        torch.manual_seed(step)
        return torch.from_numpy(self.pool.cuts(np.random.default_rng([TRAINING, step]), count, samples))

    def step(self, number: int, loss: torch.Tensor, **parts: torch.Tensor) -> None:
        """Take one optimizer step on `loss`; print it with its `parts`, and save, at intervals."""
        self._optimizer.param_groups[0]["lr"] = learning_rate(number, self.steps, self.rate)
        self._optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._parameters, 1.0)
        self._optimizer.step()
        if number % RENEW_EVERY == RENEW_EVERY - 1:
            self.pool.renew()
        self._mean_loss += loss.item() / 50
        if number % 50 == 49:
            values = " ".join(f"{name} {value.item():.3f}" for name, value in parts.items())
            print(f"{self._name} {number + 1}/{self.steps} loss {self._mean_loss:.4f} {values}", flush=True)
            self._mean_loss = 0.0
        if self._checkpoints.due() or number + 1 == self.steps:
            self._checkpoints.save(
                {"codec": self.codec.state_dict(), "optimizer": self._optimizer.state_dict(), "step": number + 1}
            )
            self._write()
            self.report(number + 1)

    def report(self, step: int) -> None:
        """Print measures of the reconstruction of held-out songs."""
        audio = held_back()
        table = reconstruction_table(audio, self._reconstruct(audio))
        print(json.dumps({"step": step, **table}), flush=True)
