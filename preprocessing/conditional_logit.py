"""Conditional logit: choose one of several alternatives by weighted features, with a probability.

(D. McFadden, Conditional logit analysis of qualitative choice behavior, 1974.) Tempo and key are chosen so. The weights
are fitted by `python -m benchmarks.preprocessing fit`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

MIN_CONFIDENCE = 0.5  # below it, an estimated tempo or key is not used


def choose(evidence: Array, weights: Array) -> tuple[int, float]:
    """The most probable alternative.

    Args:
        evidence: (alternatives, features)
        weights: (features,)

    Returns:
        Its row, and its probability: the softmax of the weighted sums.
    """
    scores = evidence @ weights
    probabilities = np.exp(scores - scores.max())
    best = int(probabilities.argmax())
    return best, float(probabilities[best] / probabilities.sum())
