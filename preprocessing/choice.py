"""Choosing one of several readings of a song by weighted evidence, with a confidence: a conditional logit.

(D. McFadden, Conditional logit analysis of qualitative choice behavior, 1974.) The weights are fitted by
`python -m benchmarks.preprocessing fit`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

LIKELY = 0.5  # the confidence from which a choice is used


def choose(evidence: Array, weights: Array) -> tuple[int, float]:
    """The best row of `evidence` (readings, kinds) and the probability that it is the right one."""
    scores = evidence @ weights
    probabilities = np.exp(scores - scores.max())
    best = int(probabilities.argmax())
    return best, float(probabilities[best] / probabilities.sum())
