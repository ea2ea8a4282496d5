"""The strength at which a twin is best on held-out songs: its default `lora_scale`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from training.base import Example
from training.evaluation.losses import measure
from training.evaluation.ratings import MIN_GAIN
from training.loop import Session

SCALES = (0.5, 0.75, 1.0, 1.25, 1.5)
# Each scale is measured on this many examples, each with this many draws of noise: six batches of four a scale.
MAX_EXAMPLES, DRAWS = 12, 2
_SEED = "scales"


@dataclass(frozen=True)
class ScaleGains:
    """The gain of the twin over the base model on held-out songs, at each scale.

    Attributes:
        gains: (base loss - loss) / base loss, by scale.
        examples: how many were measured.
    """

    gains: dict[float, float]
    examples: int

    @property
    def recommended(self) -> float:
        """The scale of the largest gain; 1 if that is larger than the gain at 1 by less than can be heard."""
        best = max(self.gains, key=lambda scale: self.gains[scale])
        return best if self.gains[best] - self.gains[1.0] >= MIN_GAIN else 1.0

    def record(self) -> dict[str, Any]:
        """The fields as the report stores them."""
        return {
            "gains": [{"scale": scale, "gain": round(gain, 6)} for scale, gain in self.gains.items()],
            "recommended": self.recommended,
            "examples": self.examples,
            "draws": DRAWS,
        }


def measure_scales(
    session: Session, examples: Sequence[Example], check_stop: Callable[[], None] = lambda: None
) -> ScaleGains:
    """Measure the session's adapter at each of `SCALES`, with the same noise for all and for the base model.

    Args:
        check_stop: called before each batch; it may raise to stop.
    """

    def loss() -> float:
        return float(measure(session, examples, _SEED, DRAWS, check_stop).mean())

    with session.disable_adapter():
        base = loss()
    gains = {}
    for scale in SCALES:
        with session.scaled(scale):
            gains[scale] = (base - loss()) / base
    return ScaleGains(gains, len(examples))
