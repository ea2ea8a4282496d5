"""What is wrong with a song's samples, though they can be read: a DC offset, channels that cancel each other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from preprocessing.decoders import Samples

OFFSET = 0.01  # of full scale; converters that work have less than a tenth of it
# A mono mix has at least 1/32 of its channels' mean power, if each of up to 32 has another sound or all but one none.
CANCELLED = 0.02
AUDIBLE = 1e-6  # power, −60 dBFS


@dataclass(frozen=True)
class Flaws:
    """Attributes:
    offsets: to subtract from each channel; none if all are small.
    channel: the one to use alone; None for all of them.
    """

    offsets: tuple[float, ...] = ()
    channel: int | None = None

    def __bool__(self) -> bool:
        return bool(self.offsets) or self.channel is not None

    def mend(self, block: Samples) -> Samples:
        """(frames, channels) without the flaws; one channel if they cancel each other."""
        if self.offsets:
            block = block - np.array(self.offsets, np.float32)
        return block if self.channel is None else block[:, self.channel : self.channel + 1]

    def warnings(self) -> tuple[str, ...]:
        """A sentence for each."""
        said = []
        if self.offsets:
            largest = max(self.offsets, key=abs)
            said.append(f"it has a DC offset of {largest:.0%} of full scale, which is removed before training")
        if self.channel is not None:
            said.append(
                "its channels cancel each other (opposite polarity), so that a mono mix is nearly silent: only channel "
                f"{self.channel + 1} is used"
            )
        return tuple(said)


NO_FLAWS = Flaws()


class FlawMeter:
    """Takes blocks of (frames, channels), any number of them, in constant memory."""

    def __init__(self, channels: int) -> None:
        self._frames = 0
        self._sums = np.zeros(channels)
        self._products = np.zeros((channels, channels))

    def add(self, block: Samples) -> None:
        self._frames += len(block)
        self._sums += np.ones(len(block), np.float32) @ block
        self._products += block.T @ block

    def flaws(self) -> Flaws:
        """Of all that was added."""
        if not self._frames:
            return Flaws()
        means = self._sums / self._frames
        covariances = self._products / self._frames - np.outer(means, means)
        powers, mixed = covariances.diagonal(), covariances.mean()
        cancels = powers.mean() > AUDIBLE and mixed < CANCELLED * powers.mean()
        return Flaws(
            tuple(float(mean) for mean in means) if np.abs(means).max() >= OFFSET else (),
            int((powers > 0.99 * powers.max()).argmax()) if cancels else None,  # the first of equals
        )
