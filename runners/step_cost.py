"""How long a step takes, learnt from the steps that are taken.

    seconds of a step = pace × (overhead + the sum of its rows' costs)

A straight line through the latest steps, the older the lighter. Steps that are all alike do not tell the overhead from
the pace: so that there is an answer from the first one on, the model's estimate of its overhead is a point of the line.
"""

from __future__ import annotations

# What a step weighs when the next one is counted: the last hundred are what counts.
_KEPT = 0.99
# How many steps the model's estimate is worth, and how far from it the overhead may come to be.
_ESTIMATE = 8.0
_FURTHEST = 8.0


class StepCost:
    """Attributes:
    overhead: of a step, in the unit of the rows' costs.
    pace: seconds a unit; `None` until steps have been seen.
    finishing: seconds that a second of music takes once it has no steps left; 0 until one has been finished.
    """

    def __init__(self, overhead: float) -> None:
        self.overhead = self._estimate = overhead
        self.pace: float | None = None
        self.finishing = 0.0
        self._warm = False
        self._n = self._x = self._y = self._xx = self._xy = 0.0

    def of(self, costs: float) -> float:
        """A step's work, of rows that cost so much in all."""
        return self.overhead + costs

    def stepped(self, costs: float, seconds: float) -> None:
        """Learn from a step. The first one does not count: it warms the device."""
        if not self._warm:
            self._warm = True
            return
        self._n, self._x, self._y, self._xx, self._xy = (
            _KEPT * old + new
            for old, new in zip(
                (self._n, self._x, self._y, self._xx, self._xy),
                (1.0, costs, seconds, costs * costs, costs * seconds),
                strict=True,
            )
        )
        self.overhead = self._fitted()
        self.pace = self._y / (self._n * self.overhead + self._x)

    def finished(self, music: float, seconds: float) -> None:
        """Learn from the end of a row of so many seconds of music."""
        latest = seconds / music
        self.finishing = (self.finishing + latest) / 2 if self.finishing else latest

    def _fitted(self) -> float:
        """The overhead of the line by least squares, which in the model's estimate is 0 s at a cost of -overhead."""
        n, x, xx = self._n + _ESTIMATE, self._x - _ESTIMATE * self._estimate, self._xx + _ESTIMATE * self._estimate**2
        slope = n * self._xy - x * self._y
        highest = _FURTHEST * self._estimate
        if slope <= 0:  # a row more costs nothing that is seen
            return highest
        return min(max((xx * self._y - x * self._xy) / slope, self._estimate / _FURTHEST), highest)
