"""The comparison by ear: distances to the producer's music, and losses of rhythm and harmony."""

from __future__ import annotations

import numpy as np
import pytest

from recipes.synthesiser import render, sample_song
from tests.unit.training.heard import pieces
from training.evaluation.heard import Change, compare
from training.evaluation.intervals import Interval, bootstrap
from training.evaluation.listening import Piece, listen, middle
from training.evaluation.resemblance import OwnMusic

RATE = 24_000


def _song(genre: str, number: int) -> Piece:
    audio = render(sample_song(np.random.default_rng(number), genre), 4, RATE)[0]
    return listen(audio, RATE, f"{genre} {number}")


def test_a_style_is_nearer_to_itself_than_to_another() -> None:
    trap, ambient = ([_song(genre, number) for number in range(5)] for genre in ("trap", "ambient"))
    own = OwnMusic(trap[:3])
    same, other = own.distance(trap[3:]), own.distance(ambient)
    assert same.value < other.value
    assert own.difference(trap[3:], ambient[:2]).value < 0


def test_a_distance_within_one_distribution_is_zero_whatever_the_sizes() -> None:
    own = OwnMusic(pieces(40, 0, 1))
    distances = [own.distance(pieces(size, 0, seed + 10)).value for size in (2, 6, 20) for seed in range(20)]
    assert np.mean(distances) == pytest.approx(0, abs=0.1)
    far = own.distance(pieces(20, 0.5, 2))
    assert far.low > 0.5 and far.low < far.value < far.high


def test_a_copy_of_the_own_music_is_not_near_because_it_is_a_copy() -> None:
    own = pieces(12, 0, 1)
    assert OwnMusic(own).distance(own).value == pytest.approx(0, abs=1e-6)
    assert OwnMusic(own[:1]).distance(own[:1]).value < 0.1


def test_own_music_is_as_far_from_itself_as_its_songs_are() -> None:
    alike = OwnMusic(pieces(12, 0, 1, songs=4)).by_song()
    mixed = OwnMusic([*pieces(6, 0, 1, songs=2), *pieces(6, 1, 2, songs=2)]).by_song()
    assert alike and mixed and alike.low < alike.value < alike.high < mixed.value
    assert OwnMusic(pieces(12, 0, 1, songs=1)).by_song() is None


def test_a_twin_that_is_nearer_and_keeps_the_pulse_lost_nothing() -> None:
    own, base = pieces(12, 0, 1, pulse=0.7), pieces(12, 0.6, 2, pulse=0.3)
    nearer = compare(own, [], base, pieces(12, 0.3, 3, pulse=0.3))
    assert nearer.is_nearer and not nearer.lost
    same = compare(own, [], base, base)
    assert not same.is_nearer and not same.lost and same.nearer.value == 0
    assert compare(own, [], base, pieces(12, 0.3, 3, pulse=0.2)).lost == ["rhythm"]


def test_to_fall_to_what_the_codec_keeps_of_the_own_music_is_no_loss() -> None:
    fallen = {"without": Interval(0.3, 0.28, 0.32), "with_twin": Interval(0.1, 0.08, 0.12)}
    difference = Interval(-0.2, -0.22, -0.18)
    much, little = Interval(0.5, 0.4, 0.6), Interval(0.1, 0.05, 0.15)
    assert Change(own=much, codec=None, difference=difference, **fallen).lost
    assert Change(own=much, codec=much, difference=difference, **fallen).lost
    assert not Change(own=little, codec=None, difference=difference, **fallen).lost
    assert not Change(own=much, codec=little, difference=difference, **fallen).lost
    assert not Change(own=much, codec=None, difference=Interval(-0.2, -0.5, 0.1), **fallen).lost


@pytest.mark.parametrize("seconds", [0.5, 2.0, 6.0])
def test_short_and_silent_audio_is_measured(seconds: float) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, round(seconds * RATE)).astype(np.float32)
    for audio in (noise, np.zeros_like(noise)):
        piece = listen(audio, RATE, "x")
        assert piece.embedding.shape[1] == 200 and np.isfinite([piece.pulse, piece.persistence]).all()


def test_an_excerpt_is_the_middle() -> None:
    audio = np.arange(10, dtype=np.float32)[None]
    assert middle(audio, 4).tolist() == [[3, 4, 5, 6]] and middle(audio, 40).shape == (1, 10)


def test_the_interval_is_around_the_mean_and_narrows_with_more_values() -> None:
    rng = np.random.default_rng(0)
    few, many = bootstrap(rng.normal(1, 0.2, 5)), bootstrap(rng.normal(1, 0.2, 200))
    assert few.low < few.value < few.high and many.high - many.low < few.high - few.low
    assert many.low < 1 < many.high
    assert many.high - many.low == pytest.approx(2 * 1.96 * 0.2 / 200**0.5, rel=0.2)
    assert str(bootstrap([0.5, 0.5])) == "0.50 (0.50 to 0.50)"
