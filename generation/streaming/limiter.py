"""A limiter for samples that come piece by piece."""

from __future__ import annotations

import numpy as np

from generation.delivery.true_peak import LOOK_AHEAD_SECONDS, Samples, limiter_gain
from models.loudness import PEAK

# A gain depends on the samples of the look-ahead on either side, and of the window that averages them.
_REACH_WINDOWS = 2


class Limiter:
    """Turns peaks over −1 dBFS down, by the gain that `limiter_gain` has for the whole; other samples stay as they are.

    A gain depends on samples that follow, so that the last ones of a piece come with the next piece.

    Args:
        rate: sample rate in Hz.
    """

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._reach = _REACH_WINDOWS * (round(LOOK_AHEAD_SECONDS * rate) + 1)
        self._kept: Samples | None = None
        self._limited = 0  # of the kept samples: the number of those that were returned already

    def add(self, samples: Samples, is_last: bool = False) -> Samples:
        """The next limited samples (frames, channels); after the last piece all that are left."""
        kept = samples if self._kept is None else np.concatenate([self._kept, samples])
        end = len(kept) if is_last else max(self._limited, len(kept) - self._reach)
        start, first = self._limited, max(0, end - self._reach)
        limited = kept[start:end]
        peaks = np.abs(kept).max(axis=1, initial=0)
        if peaks.max(initial=0) > PEAK:
            gain = limiter_gain(peaks, PEAK, self._rate)[start:end]
            limited = np.clip(limited * gain[:, None], -PEAK, PEAK).astype(np.float32)
        self._kept, self._limited = kept[first:], end - first
        return limited
