"""The energy distance of two samples of points, such as the embeddings of two sets of pieces."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def energy_distance(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Twice the mean distance between `a` and `b`, each `[N, D]`, less the mean distance within each.

    0 if both are the same points. Few points of one distribution have a small distance above 0, so compare only
    distances of samples of the same sizes.
    """
    return 2 * _mean_distance(a, b) - _mean_distance(a, a) - _mean_distance(b, b)


def _mean_distance(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    square = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
    return float(np.sqrt(np.maximum(square, 0)).mean())
