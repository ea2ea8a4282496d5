"""The strength at which a twin plays by default, where it loses what the base model has."""

from __future__ import annotations

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


@pytest.mark.parametrize(
    ("full", "half", "still_lost", "less_lost"),
    [
        ((0.2, 0.5), (0.5, 0.7), [], []),
        ((0.2, 0.5), (0.4, 0.7), ["rhythm"], ["rhythm"]),
        ((0.2, 1.5), (0.4, 1.2), ["rhythm"], ["rhythm"]),  # neither is nearer, half is less far
    ],
)
def test_half_is_chosen_where_less_is_lost_and_it_is_near_enough(
    full: tuple[float, float], half: tuple[float, float], still_lost: list[str], less_lost: list[str]
) -> None:
    asked: list[float] = []

    def play(scale: float) -> Pieces:
        asked.append(scale)
        return played(*half)

    found, weakened = choose_by_ear(played(*full), 1.0, play)
    assert asked == [0.5] and weakened is not None and found.heard is not None
    assert found.heard.pulse.with_twin.value == pytest.approx(half[0], abs=0.02)
    assert weakened.record() == {
        "before": 1.0,
        "scale": 0.5,
        "lost": ["rhythm"],
        "still_lost": still_lost,
        "less_lost": less_lost,
    }


@pytest.mark.parametrize(
    ("full", "half"),
    [
        ((0.2, 0.5), (0.22, 0.7)),  # it keeps hardly more
        ((0.2, 0.5), (0.1, 0.7)),
        ((0.2, 0.5), (0.5, 1.5)),  # half of it is no nearer
    ],
)
def test_half_is_not_chosen_otherwise(full: tuple[float, float], half: tuple[float, float]) -> None:
    pieces = played(*full)
    assert choose_by_ear(pieces, 1.25, lambda scale: played(*half)) == (pieces, None)


def test_half_is_not_played_where_nothing_is_lost_or_there_is_nothing_to_compare_with() -> None:
    def play(scale: float) -> Pieces:
        raise AssertionError("it was played")

    silent = Pieces([], [np.zeros((1, 1), np.float32)], [], [], None)
    kept = played(BASE_PULSE, 0.5)
    for found in (silent, kept):
        assert choose_by_ear(found, 1.0, play) == (found, None)
