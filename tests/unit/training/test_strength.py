"""The strength at which a twin plays by default, where it loses what the base model has."""

from __future__ import annotations

import numpy as np
import pytest

from tests.unit.training.heard import pieces
from training.evaluation.heard import compare
from training.evaluation.pieces import Pieces
from training.evaluation.strength import choose_by_ear


def played(pulses: dict[float, float], centres: dict[float, float], asked: list[float]) -> object:
    """Plays a twin whose pulse and nearness to the producer's music are by its scale; the base model has .5 and 0."""
    own, base = pieces(12, 3, 1, 0.7), pieces(16, 0, 2, 0.5)

    def play(scale: float) -> Pieces:
        asked.append(scale)
        twin = pieces(16, centres[scale], 3, pulses[scale])
        return Pieces([], [], [], compare(own, [], base, twin))

    return play


@pytest.mark.parametrize(
    ("pulses", "centres", "chosen", "tried"),
    [
        ({1.0: 0.5}, {1.0: 1.0}, 1.0, [1.0]),  # nothing is lost
        ({1.0: 0.2, 0.5: 0.5}, {1.0: 1.0, 0.5: 0.6}, 0.5, [1.0, 0.5]),
        ({1.0: 0.2, 0.5: 0.3}, {1.0: 1.0, 0.5: 0.6}, 1.0, [1.0, 0.5]),  # it loses as much at half
        ({1.0: 0.2, 0.5: 0.5}, {1.0: 1.0, 0.5: -0.5}, 1.0, [1.0, 0.5]),  # half of it is no nearer
    ],
)
def test_half_is_chosen_where_less_is_lost_and_it_is_nearer(
    pulses: dict[float, float], centres: dict[float, float], chosen: float, tried: list[float]
) -> None:
    asked: list[float] = []
    found, weakened = choose_by_ear(1.0, played(pulses, centres, asked))  # type: ignore[arg-type]
    assert asked == tried
    assert found.heard is not None
    assert found.heard.pulse.with_twin.value == pytest.approx(pulses[chosen], abs=0.02)
    if chosen == 1.0:
        assert weakened is None
    else:
        assert weakened is not None
        assert weakened.record() == {"before": 1.0, "scale": 0.5, "lost": ["rhythm"], "still_lost": []}


def test_half_is_not_played_where_there_is_nothing_to_compare_with_or_it_is_not_wanted() -> None:
    asked: list[float] = []
    play = played({1.25: 0.2}, {1.25: 1.0}, asked)
    assert choose_by_ear(1.25, play, try_weaker=False)[1] is None  # type: ignore[arg-type]
    silent = Pieces([], [np.zeros((1, 1), np.float32)], [], None)
    assert choose_by_ear(1.0, lambda scale: silent) == (silent, None)
    assert asked == [1.25]
