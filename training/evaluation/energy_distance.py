"""The energy distance of two samples of points, such as the embeddings of two sets of pieces."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist


def energy_distance(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Twice the mean distance between `a` and `b`, each `[N, D]`, less the mean distance within each.

    0 if both are the same points. Few points of one distribution have a small distance above 0, so compare only
    distances of samples of the same sizes.
    """
    return float(2 * cdist(a, b).mean() - cdist(a, a).mean() - cdist(b, b).mean())
