"""The strength at which a twin plays by default, where it loses what the base model has."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tests.unit.training.heard import pieces
from training.evaluation.heard import compare
from training.evaluation.pieces import Pieces
from training.evaluation.strength import choose_by_ear

BASE_PULSE = 0.5


def played(pulse: float, centre: float) -> Pieces:
    """Pieces of a twin with this pulse; the base model's are at 1, and the producer's music at 0."""
    own, base = pieces(12, 0, 1, 0.7), pieces(16, 1, 2, BASE_PULSE)
    twin = pieces(16, centre, 3, pulse)
    return Pieces([], [], [], twin, compare(own, [], base, twin))


Strengths = dict[float, tuple[float, float]]
"""Pulse and centre at each `lora_scale`."""


def player(strengths: Strengths, asked: list[float]) -> Callable[[float], Pieces]:
    def play(scale: float) -> Pieces:
        asked.append(scale)
        return played(*strengths[scale])

    return play


@pytest.mark.parametrize(
    ("strengths", "tried", "chosen", "still_lost"),
    [
        ({1.0: (0.2, 0.5), 0.5: (0.5, 0.7)}, [0.5], 0.5, []),
        ({1.0: (0.2, 0.5), 0.5: (0.3, 0.7), 0.25: (0.5, 0.9)}, [0.5, 0.25], 0.25, []),
        ({1.0: (0.2, 0.5), 0.5: (0.3, 0.7), 0.25: (0.4, 0.9)}, [0.5, 0.25], 0.25, ["rhythm"]),
        ({1.0: (0.2, 0.5), 0.5: (0.22, 0.7), 0.25: (0.4, 0.9)}, [0.5, 0.25], 0.25, ["rhythm"]),  # half is hardly better
        ({1.0: (0.2, 0.5), 0.5: (0.4, 0.7), 0.25: (0.5, 1.4)}, [0.5, 0.25], 0.5, ["rhythm"]),  # a quarter is no nearer
        ({1.0: (0.2, 1.5), 0.5: (0.4, 1.3), 0.25: (0.3, 1.2)}, [0.5, 0.25], 0.5, ["rhythm"]),  # none is nearer
    ],
)
def test_a_weaker_twin_is_chosen_where_it_loses_less_and_is_near_enough(
    strengths: Strengths, tried: list[float], chosen: float, still_lost: list[str]
) -> None:
    asked: list[float] = []
    found, weakened = choose_by_ear(played(*strengths[1.0]), 1.0, player(strengths, asked))
    assert asked == tried and weakened is not None and found.heard is not None
    assert found.heard.pulse.with_twin.value == pytest.approx(strengths[chosen][0], abs=0.02)
    assert weakened.record() == {
        "before": 1.0,
        "scale": chosen,
        "lost": ["rhythm"],
        "still_lost": still_lost,
        "less_lost": still_lost,
    }


@pytest.mark.parametrize(
    "weaker",
    [
        (0.22, 0.7),  # it keeps hardly more
        (0.1, 0.7),
        (0.5, 1.5),  # it is no nearer
    ],
)
def test_the_twin_stays_as_strong_otherwise(weaker: tuple[float, float]) -> None:
    pieces, asked = played(0.2, 0.5), list[float]()
    strengths = {0.6: weaker, 0.3: weaker}
    assert choose_by_ear(pieces, 1.2, player(strengths, asked)) == (pieces, None)
    assert asked == [0.6, 0.3]


def test_nothing_weaker_is_played_where_nothing_is_lost_or_there_is_nothing_to_compare_with() -> None:
    silent = Pieces([], [np.zeros((1, 1), np.float32)], [], [], None)
    kept = played(BASE_PULSE, 0.5)
    for found in (silent, kept):
        assert choose_by_ear(found, 1.0, player({}, [])) == (found, None)
