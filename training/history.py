"""The losses and previews of a training: for its report, its checkpoint and TensorBoard."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import torch
from tensorboardX import SummaryWriter

from core.temporary import TemporaryFolder
from storage import Storage, Unavailable, keys

log = logging.getLogger("producer_twin.training")

# More points cannot be told apart on the report's page.
_MAX_CURVE_POINTS = 400


class History:
    """The measurements of a job so far, over all its attempts.

    Attributes:
        losses: the training loss of each step.
        held_out: (step, held-out loss).
        previews: (step, file name).
        seconds: time spent on steps, over all attempts.
    """

    def __init__(self, state: dict[str, Any] | None = None) -> None:
        state = state or {}
        self.losses: list[float] = state["losses"].tolist() if state else []
        self.held_out: list[tuple[int, float]] = [(int(step), loss) for step, loss in state.get("held_out", [])]
        self.previews: list[tuple[int, str]] = [(int(step), name) for step, name in state.get("previews", [])]
        self.seconds: float = state.get("seconds", 0.0)

    def state(self) -> dict[str, Any]:
        """The fields as `torch.save` and `torch.load(weights_only=True)` take them."""
        return {
            "losses": torch.tensor(self.losses),
            "held_out": [list(point) for point in self.held_out],
            "previews": [list(point) for point in self.previews],
            "seconds": self.seconds,
        }

    def curve(self) -> list[tuple[int, float]]:
        """The training losses as (step, mean over the steps since the last point)."""
        width = max(1, -(-len(self.losses) // _MAX_CURVE_POINTS))
        parts = [self.losses[start : start + width] for start in range(0, len(self.losses), width)]
        return [(min((n + 1) * width, len(self.losses)), sum(part) / len(part)) for n, part in enumerate(parts)]


class TensorBoard:
    """Event files of one attempt, copied to storage by `publish`: `tensorboard --logdir <storage>/job_runs`."""

    def __init__(self, storage: Storage, job_id: str, first_step: int) -> None:
        self._storage, self._job_id = storage, job_id
        self._folder = TemporaryFolder("events")
        # Each attempt has its own file. `purge_step` drops an earlier attempt's points for steps that are repeated.
        self._writer = SummaryWriter(self._folder.path, purge_step=first_step + 1, filename_suffix=f".{first_step:06d}")

    def add(self, step: int, **values: float) -> None:
        """Add values of a step. The first underscore of a name ends its group: `loss_training` is `loss/training`."""
        for name, value in values.items():
            self._writer.add_scalar(name.replace("_", "/", 1), value, step)

    def publish(self) -> None:
        """Copy the event files to storage, unless it is unavailable."""
        self._writer.flush()
        for name in os.listdir(self._folder.path):
            try:
                self._storage.put_file(keys.tensorboard(self._job_id, name), Path(self._folder.path) / name)
            except Unavailable as error:
                log.warning("TensorBoard's files were not stored: %s", error)

    def close(self) -> None:
        self._writer.close()
        self.publish()
        self._folder.remove()
