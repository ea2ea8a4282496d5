"""Training state on disk, written often and atomically, so that a run resumes where it stopped."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import torch


class Checkpoints:
    """One file of state, rewritten every `every` seconds and at the end."""

    def __init__(self, path: Path, every: float = 150.0) -> None:
        self.path, self.every, self._last = path, every, time.monotonic()
        path.parent.mkdir(parents=True, exist_ok=True)

    def load(self) -> dict[str, Any] | None:
        """The saved state, None if there is none."""
        if not self.path.exists():
            return None
        return torch.load(self.path, map_location="cpu", weights_only=True)

    def due(self) -> bool:
        return time.monotonic() - self._last > self.every

    def save(self, state: dict[str, Any]) -> None:
        """Write the state atomically, by a rename."""
        partial = self.path.with_suffix(".partial")
        torch.save(state, partial)
        os.replace(partial, self.path)
        self._last = time.monotonic()


def learning_rate(step: int, steps: int, peak: float, warmup: int = 50, decay: float = 0.5) -> float:
    """Linear warm-up, constant, then linear decay to 3 % over the last share `decay` of the steps."""
    left = (steps - step) / max(1, steps * decay)
    return peak * min(1.0, (step + 1) / warmup) * min(1.0, max(0.03, left))
