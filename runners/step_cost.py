"""How long a step takes, learnt from the steps that are taken.

    seconds of a step = pace × (overhead + sum of its rows' costs)

This is a least-squares line through the latest steps, weighted by their age. Steps of equal cost do not determine the
overhead, so the model's own estimate of it is one more point on the line, which gives an answer from the first step.
"""

from __future__ import annotations

# The weight of all earlier steps at each new one: about the last hundred count.
_DECAY = 0.99
# The model's estimate counts as this many steps, and bounds the overhead by this factor in both directions.
_ESTIMATE_WEIGHT = 8.0
_MAX_ESTIMATE_RATIO = 8.0


class StepCost:
    """Predicts the duration of steps and of decoding.

    Args:
        overhead: the model's estimate.

    Attributes:
        overhead: the cost of a step without rows, in the unit of the rows' costs.
        pace: seconds per unit of cost; `None` until steps have been timed.
        finishing: seconds to decode one second of music; 0 until a row has been decoded.
        preparing: seconds to encode one second of a recording; 0 until one has been encoded.
    """

    def __init__(self, overhead: float) -> None:
        self.overhead = self._estimate = overhead
        self.pace: float | None = None
        self.finishing = self.preparing = 0.0
        self._warm = False
        self._n = self._x = self._y = self._xx = self._xy = 0.0

    def of(self, costs: float) -> float:
        """The cost of a step whose rows cost `costs` in all."""
        return self.overhead + costs

    def stepped(self, costs: float, seconds: float) -> None:
        """Learn from a step. The first one is ignored, since it includes the device's warm-up."""
        if not self._warm:
            self._warm = True
            return
        self._n, self._x, self._y, self._xx, self._xy = (
            _DECAY * old + new
            for old, new in zip(
                (self._n, self._x, self._y, self._xx, self._xy),
                (1.0, costs, seconds, costs * costs, costs * seconds),
                strict=True,
            )
        )
        self.overhead = self._fitted()
        self.pace = self._y / (self._n * self.overhead + self._x)

    def finished(self, music: float, seconds: float) -> None:
        """Learn from the decoding of `music` seconds of audio, which took `seconds`."""
        self.finishing = _averaged(self.finishing, seconds / music)

    def prepared(self, recorded: float, seconds: float) -> None:
        """Learn from the encoding of `recorded` seconds of audio, which took `seconds`."""
        self.preparing = _averaged(self.preparing, seconds / recorded)

    def _fitted(self) -> float:
        """The overhead by least squares, with the model's estimate as the point of 0 s at a cost of -overhead."""
        n = self._n + _ESTIMATE_WEIGHT
        x = self._x - _ESTIMATE_WEIGHT * self._estimate
        xx = self._xx + _ESTIMATE_WEIGHT * self._estimate**2
        slope = n * self._xy - x * self._y
        highest = _MAX_ESTIMATE_RATIO * self._estimate
        if slope <= 0:  # further rows cost nothing measurable
            return highest
        return min(max((xx * self._y - x * self._xy) / slope, self._estimate / _MAX_ESTIMATE_RATIO), highest)


def _averaged(average: float, latest: float) -> float:
    return (average + latest) / 2 if average else latest
