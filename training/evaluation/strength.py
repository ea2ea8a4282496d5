"""The strength at which a twin plays by default: the best on held-out songs, or less.

Less is for twins that lose rhythm or harmony that the base model has.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from training.evaluation.heard import LOSSES, MIN_FALL, Heard, measured
from training.evaluation.intervals import bootstrap
from training.evaluation.pieces import Pieces

# A twin that lost rhythm or harmony is heard at these shares of its strength too, as long as it loses something.
WEAKER = (0.5, 0.25)


@dataclass(frozen=True)
class Weakened:
    """Why a twin plays more weakly than held-out songs recommend.

    Attributes:
        before, scale: the `lora_scale` that they recommend, and the one that is recommended instead.
        lost: what the twin loses at `before`, `rhythm` or `harmony` or both.
        still_lost: what it loses at `scale`.
        less_lost: those of `still_lost` of which it keeps more than at `before`, by more than chance.
    """

    before: float
    scale: float
    lost: list[str]
    still_lost: list[str]
    less_lost: list[str]

    def record(self) -> dict[str, Any]:
        """The fields as the report stores them."""
        return vars(self).copy()


def choose_by_ear(pieces: Pieces, scale: float, play: Callable[[float], Pieces]) -> tuple[Pieces, Weakened | None]:
    """The pieces at `scale`, or at a half or a quarter of it if they lose less there and are near enough.

    Less is lost where rhythm or harmony is lost no more, or is lost but kept better, and nothing else is lost. Near
    enough is nearer to the producer's music than the base model's pieces, or no farther than the stronger twin's.

    Args:
        pieces: those at `scale`; weaker ones are played only while something is lost.
        play: plays the twin at a `lora_scale`.
    """
    best, weakened = pieces, None
    for share in WEAKER:
        if best.heard is None or not best.heard.lost:
            break
        weaker = play(share * scale)
        if _is_better(weaker, best):
            still_lost, less_lost = _heard(weaker).lost, _kept_better(weaker, pieces)
            best, weakened = weaker, Weakened(scale, share * scale, _heard(pieces).lost, still_lost, less_lost)
    return best, weakened


def _is_better(weaker: Pieces, stronger: Pieces) -> bool:
    before, after = _heard(stronger), _heard(weaker)
    less = set(after.lost) < set(before.lost) or (after.lost == before.lost and _kept_better(weaker, stronger))
    return bool(less) and after.nearer.value > min(0.0, before.nearer.value)


def _kept_better(weaker: Pieces, stronger: Pieces) -> list[str]:
    """What both lose, but the weaker less, by more than chance and by enough to be heard."""
    before, after = _heard(stronger), _heard(weaker)
    better = []
    for loss in after.lost:
        measure = LOSSES[loss]
        gain = bootstrap(measured(measure, weaker.listened) - measured(measure, stronger.listened))
        if loss in before.lost and gain.low > 0 and gain.value >= MIN_FALL * after.change(measure).without.value:
            better.append(loss)
    return better


def _heard(pieces: Pieces) -> Heard:
    assert pieces.heard is not None
    return pieces.heard
