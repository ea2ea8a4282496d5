"""Bootstrap intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000
_CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """A value and its interval of 95 %."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f})"

    def record(self) -> dict[str, float]:
        """The fields as the report stores them."""
        return {name: round(value, 4) for name, value in vars(self).items()}


def resampled_counts(size: int) -> NDArray[np.float64]:
    """How often each of `size` things is drawn in each resample, `[RESAMPLES, size]`: the same at every call."""
    return np.random.default_rng(0).multinomial(size, np.full(size, 1 / size), RESAMPLES).astype(np.float64)


def interval(value: float, samples: NDArray[np.float64]) -> Interval:
    """The interval of a value that was computed again of each resample."""
    low, high = np.quantile(samples, [(1 - _CONFIDENCE) / 2, (1 + _CONFIDENCE) / 2])
    return Interval(float(value), float(low), float(high))


def bootstrap(values: Sequence[float] | NDArray[np.float64]) -> Interval:
    """The mean of values that were drawn independently, such as those of seeds."""
    drawn = np.asarray(values, np.float64)
    return interval(drawn.mean(), resampled_counts(len(drawn)) @ drawn / len(drawn))
