"""The strength at which a twin plays by default: the best on held-out songs, or half of it.

Half is for twins that lose rhythm or harmony that the base model has.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from training.evaluation.heard import LOSSES, MIN_FALL, Heard, measured
from training.evaluation.intervals import bootstrap
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
    """The pieces at `scale`, or at half of it if they lose less there and are near enough to the producer's music.

    Less is lost where rhythm or harmony is lost no more, or is lost but kept better, and nothing else is lost. Near
    enough is nearer than the base model's pieces, or no farther than the twin's at `scale`.

    Args:
        pieces: those at `scale`; half is played only if something is lost in them.
        play: plays the twin at a `lora_scale`.
    """
    if pieces.heard is None or not pieces.heard.lost:
        return pieces, None
    weaker = play(WEAKER * scale)
    assert weaker.heard is not None
    lost, still_lost = pieces.heard.lost, weaker.heard.lost
    less_lost = [name for name in still_lost if name in lost and _keeps_more(name, pieces, weaker, weaker.heard)]
    better = set(still_lost) < set(lost) or (set(still_lost) == set(lost) and less_lost)
    near_enough = weaker.heard.nearer.value > min(0.0, pieces.heard.nearer.value)
    if better and near_enough:
        return weaker, Weakened(scale, WEAKER * scale, lost, still_lost, less_lost)
    return pieces, None


def _keeps_more(loss: str, pieces: Pieces, weaker: Pieces, heard: Heard) -> bool:
    """Whether the weaker pieces have more of what is lost, by more than chance and by enough to be heard."""
    measure = LOSSES[loss]
    gain = bootstrap(measured(measure, weaker.listened) - measured(measure, pieces.listened))
    return gain.low > 0 and gain.value >= MIN_FALL * heard.change(measure).without.value
