"""The strength at which a twin plays by default: the best on held-out songs, or half of it.

Half is for twins that lose rhythm or harmony that the base model has.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from training.evaluation.pieces import Pieces

# A twin that lost rhythm or harmony is heard at this share of its strength too.
WEAKER = 0.5


@dataclass(frozen=True)
class Weakened:
    """Why a twin plays more weakly than held-out songs recommend.

    Attributes:
        before, scale: the `lora_scale` that they recommend, and the one that is recommended instead.
        lost: what the twin loses at `before`, `rhythm` or `harmony` or both.
        still_lost: what it loses at `scale`.
    """

    before: float
    scale: float
    lost: list[str]
    still_lost: list[str]

    def record(self) -> dict[str, Any]:
        """The fields as the report stores them."""
        return vars(self).copy()


def choose_by_ear(
    scale: float, play: Callable[[float], Pieces], try_weaker: bool = True
) -> tuple[Pieces, Weakened | None]:
    """The pieces at `scale`, or at half of it if less is lost there and they are still nearer than the base model's.

    Args:
        play: plays the twin at a `lora_scale`.
        try_weaker: whether half of it is played at all.
    """
    pieces = play(scale)
    if pieces.heard is None or not pieces.heard.lost or not try_weaker:
        return pieces, None
    weaker = play(WEAKER * scale)
    assert weaker.heard is not None
    if weaker.heard.nearer.value <= 0 or len(weaker.heard.lost) >= len(pieces.heard.lost):
        return pieces, None
    return weaker, Weakened(scale, WEAKER * scale, pieces.heard.lost, weaker.heard.lost)
