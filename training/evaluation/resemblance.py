"""How near pieces are to a producer's music: energy distances between sets of pieces, with intervals over the pieces.

It differs from `energy_distance` in its unit, which is the piece: the distance of two pieces is the mean distance of
their windows in the tagger's embedding. Pairs of the same source do not count, so the distance of two sets from one
distribution is 0 on average, whatever their sizes, and a copy of the producer's own music is not near because it is a
copy.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from training.evaluation.intervals import Interval, interval, resampled_counts
from training.evaluation.listening import EmbeddedPiece

SPACE = "energy distance in the tagger's embedding (musicnn, Million Song Dataset): 200 numbers for each 3 s"

Matrix = NDArray[np.float64]


class OwnMusic:
    """A producer's music, from which the distances of other pieces are measured.

    Args:
        pieces: excerpts of the producer's songs, at least one.
    """

    def __init__(self, pieces: Sequence[EmbeddedPiece]) -> None:
        self._pieces = list(pieces)
        self._spread = float(_spread(self._pieces, np.ones((1, len(self._pieces))))[0])

    def distance(self, pieces: Sequence[EmbeddedPiece]) -> Interval:
        """The distance of a set of pieces, at least one."""
        distances = self._distances_of_samples(pieces)
        return interval(distances[0], distances[1:])

    def difference(self, pieces: Sequence[EmbeddedPiece], others: Sequence[EmbeddedPiece]) -> Interval:
        """The distance of `pieces` less that of `others`, which are as many and come in the same order of prompts."""
        differences = self._distances_of_samples(pieces) - self._distances_of_samples(others)
        return interval(differences[0], differences[1:])

    def by_song(self) -> Interval | None:
        """The mean distance of a song from the other songs, from the nearest to the farthest; None for one song."""
        songs = sorted({piece.song for piece in self._pieces})
        if len(songs) < 2:
            return None
        distances = []
        for song in songs:
            own = [piece for piece in self._pieces if piece.song == song]
            others = OwnMusic([piece for piece in self._pieces if piece.song != song])
            distances.append(others.distance(own).value)
        return Interval(float(np.mean(distances)), min(distances), max(distances))

    def _distances_of_samples(self, pieces: Sequence[EmbeddedPiece]) -> Matrix:
        """The distance of the set itself, and then that of each of its resamples."""
        counts = np.concatenate([np.ones((1, len(pieces))), resampled_counts(len(pieces))])
        distances, counted = _distances(pieces, self._pieces), _of_different_sources(pieces, self._pieces)
        if not counted.any(axis=1).all():
            counted = np.ones_like(counted)  # the only own excerpt is the piece's own source
        across: Matrix = counts @ (distances * counted).sum(axis=1) / (counts @ counted.sum(axis=1))
        return 2 * across - _spread(pieces, counts) - self._spread


def _spread(pieces: Sequence[EmbeddedPiece], counts: Matrix) -> Matrix:
    """The mean distance within each sample `[samples, pieces]`; of a single piece, that of its windows."""
    distances, counted = _distances(pieces, pieces), _of_different_sources(pieces, pieces)
    pairs = ((counts @ counted) * counts).sum(axis=1)
    sums = ((counts @ (distances * counted)) * counts).sum(axis=1)
    alone = counts @ distances.diagonal() / counts.sum(axis=1)
    return np.where(pairs > 0, sums / np.maximum(pairs, 1), alone)


def _of_different_sources(pieces: Sequence[EmbeddedPiece], others: Sequence[EmbeddedPiece]) -> Matrix:
    """1 for each pair of different sources, 0 for each other pair."""
    different = [[float(piece.source != other.source) for other in others] for piece in pieces]
    return np.array(different)


def _distances(pieces: Sequence[EmbeddedPiece], others: Sequence[EmbeddedPiece]) -> Matrix:
    """The mean distance between the windows of each piece and of each other piece."""
    return np.array([[cdist(piece.embedding, other.embedding).mean() for other in others] for piece in pieces])
