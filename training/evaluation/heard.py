"""The difference that a twin makes to what is heard: pieces with and without it, beside the producer's music."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.evaluation.intervals import Interval, bootstrap
from training.evaluation.listening import Piece
from training.evaluation.resemblance import OwnMusic

Values = NDArray[np.float64]

# What a twin can lose, and the measure that falls when it does.
LOSSES = {"rhythm": "pulse", "harmony": "persistence"}
MEASURES = tuple(LOSSES.values())
# A smaller fall, as a share of the base model's value, is not heard.
MIN_FALL = 0.1


@dataclass(frozen=True)
class Change:
    """A measure of pieces from the same prompts and seeds.

    Attributes:
        own: of the producer's music.
        codec: of the producer's music after the codec, None if it was not measured.
        without: of the base model.
        with_twin: of the twin.
        difference: `with_twin` less `without`; its interval is over pairs of pieces.
    """

    own: Interval
    codec: Interval | None
    without: Interval
    with_twin: Interval
    difference: Interval

    @property
    def aim(self) -> Interval:
        """The value of a perfect twin: that of the producer's music as far as the codec keeps it."""
        return self.own if self.codec is None else min(self.own, self.codec, key=lambda interval: interval.value)

    @property
    def lost(self) -> bool:
        """Whether the twin's value fell below the base model's by more than chance, and below a perfect twin's."""
        fall = -self.difference.value
        return (
            self.difference.high < 0 and fall >= MIN_FALL * self.without.value and self.with_twin.value < self.aim.low
        )


@dataclass(frozen=True)
class Heard:
    """The comparison by ear of pieces with and without the twin.

    Attributes:
        without, with_twin: the distances from the producer's music.
        nearer: the distance without the twin less that with it; above 0 if the twin is nearer.
        pulse, persistence: of rhythm and of tones.
    """

    without: Interval
    with_twin: Interval
    nearer: Interval
    pulse: Change
    persistence: Change

    @property
    def is_nearer(self) -> bool:
        return self.nearer.low > 0

    @property
    def lost(self) -> list[str]:
        """What the twin lost, `rhythm` or `harmony` or both."""
        return [loss for loss, measure in LOSSES.items() if self.change(measure).lost]

    def change(self, measure: str) -> Change:
        """The change of one of `MEASURES`."""
        change: Change = getattr(self, measure)
        return change


def compare(
    own: Sequence[Piece], codec: Sequence[Piece], without: Sequence[Piece], with_twin: Sequence[Piece]
) -> Heard:
    """Compare pieces with and without the twin.

    Args:
        own: excerpts of the producer's music.
        codec: some of them after the codec; may be empty.
        without, with_twin: pieces of the base model and of the twin, in the same order of prompts and seeds.
    """
    music = OwnMusic(own)
    return Heard(
        music.distance(without),
        music.distance(with_twin),
        music.difference(without, with_twin),
        *(_change(*(measured(name, pieces) for pieces in (own, codec, without, with_twin))) for name in MEASURES),
    )


def _change(own: Values, codec: Values, without: Values, with_twin: Values) -> Change:
    return Change(
        bootstrap(own),
        bootstrap(codec) if len(codec) else None,
        bootstrap(without),
        bootstrap(with_twin),
        bootstrap(with_twin - without),
    )


def measured(measure: str, pieces: Sequence[Piece]) -> Values:
    """One of `MEASURES` of each piece."""
    return np.array([getattr(piece, measure) for piece in pieces])
