"""The choice of the version of an adapter that becomes the twin, and the early end of a training."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch

from contract import Keep
from training.loop import Session

# The held-out loss is measured before the first step and after each of this many equal parts of the training.
HELD_OUT_PARTS = 10
# Training ends when this many measurements in a row were not below the lowest one: 30 % of the steps.
MAX_WORSE_PARTS = 3


def measured_steps(steps: int) -> set[int]:
    """The steps at which the held-out loss of a training of that many steps is measured."""
    return {round(steps * part / HELD_OUT_PARTS) for part in range(HELD_OUT_PARTS + 1)}


class VersionChoice:
    """Keeps the adapter of the step at which the held-out loss was lowest, or leaves the one in training.

    Args:
        keep: `last` leaves the adapter in training.
        has_held_out: whether there are held-out songs; without them no version is known to be better than the last.
        steps: of the whole training.
        state: as `state` returned it, to go on from there.

    Attributes:
        best_step: of the adapter that is kept; None if none is. That of step 0 is none, since it changes nothing.
    """

    def __init__(self, keep: Keep, has_held_out: bool, steps: int, state: Mapping[str, Any] | None = None) -> None:
        self._keep, self._has_held_out, self._steps = keep, has_held_out, steps
        state = state or {}
        self.best_step: int | None = state.get("step")
        self._loss: float = state.get("loss", math.inf)
        self._parameters: dict[str, torch.Tensor] = state.get("parameters", {})
        self._worse: int = state.get("worse", 0)

    def offer(self, session: Session, loss: float) -> None:
        """Keep the session's adapter if its held-out loss is the lowest so far."""
        if self._keep == "last" or not session.step:
            return
        if loss < self._loss:
            self.best_step, self._loss, self._worse = session.step, loss, 0
            self._parameters = {name: value.detach().cpu().clone() for name, value in session.named_parameters.items()}
        else:
            self._worse += 1

    def apply(self, session: Session) -> None:
        """Give the session the best adapter, unless none was measured after it: then its own may be better."""
        if self._is_past:
            session.set_parameters(self._parameters)

    @property
    def ends_training(self) -> bool:
        """Whether the held-out loss has risen for so long that the steps that are left are not taken."""
        return self._worse >= MAX_WORSE_PARTS

    def stopped_early(self, step: int) -> str | None:
        """Why training ended after that step; None if it is the last one, or training goes on."""
        if not self.ends_training or step == self._steps:
            return None
        return (
            f"Training stopped at step {step} of {self._steps}: on held-out songs the twin was best at step "
            f"{self.best_step}, and got no better for {100 * MAX_WORSE_PARTS // HELD_OUT_PARTS} % of the steps."
        )

    def kept_step(self, step: int) -> int:
        """The step whose version is kept after that step."""
        return self.best_step if self._is_past and self.best_step is not None else step

    def record(self, step: int) -> dict[str, Any]:
        """The version that is kept after that step and why, as the report stores it."""
        return {"keep": self._keep, "step": self.kept_step(step), "reason": self._reason(step)}

    def state(self) -> dict[str, Any]:
        """All that the choice depends on, as `torch.save` and `torch.load(weights_only=True)` take it."""
        return {"step": self.best_step, "loss": self._loss, "parameters": self._parameters, "worse": self._worse}

    @property
    def _is_past(self) -> bool:
        return self._worse > 0 and self.best_step is not None

    def _reason(self, step: int) -> str:
        if not self._has_held_out:
            return f"No song was held out, so the twin is the version of the last step, {step}."
        if self._keep == "last":
            return f"The twin is the version of the last step, {step}, as was asked for."
        if self._is_past:
            return f"The twin is the version of step {self.best_step}, which was the best on held-out songs."
        return f"The twin is the version of the last step, {step}: on held-out songs none before it was better."
