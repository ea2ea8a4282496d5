"""Conditional logit: choose one of several alternatives by weighted features, with a probability.

(D. McFadden, Conditional logit analysis of qualitative choice behavior, 1974.) Tempo and key are chosen so. The weights
are fitted by `python -m benchmarks.preprocessing fit`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

MIN_CONFIDENCE = 0.5  # below it, an estimated tempo or key is not used


def probabilities(evidence: Array, weights: Array) -> Array:
    """The probability of each alternative: the softmax of the weighted sums.

    Args:
        evidence: (alternatives, features)
        weights: (features,)
    """
    scores = evidence @ weights
    shares = np.exp(scores - scores.max())
    return np.asarray(shares / shares.sum())
