"""Flaws in samples that can be repaired: a DC offset, and channels of opposite polarity."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from preprocessing.decoders import Samples

MIN_DC_OFFSET = 0.01  # of full scale; a working converter has less than a tenth of it
# Power of the mono mix by the mean power of the channels. Uncorrelated channels have 1 / channels, and at least 1/32.
MIN_MONO_POWER_RATIO = 0.02
AUDIBLE_POWER = 1e-6  # −60 dBFS


@dataclass(frozen=True)
class Flaws:
    """The flaws of a file's samples, and how to repair them.

    Attributes:
        dc_offsets: to subtract from each channel; empty if all are small.
        only_channel: index of the one channel to use, since a mix would cancel out; None to use all.
    """

    dc_offsets: tuple[float, ...] = ()
    only_channel: int | None = None

    def __bool__(self) -> bool:
        return bool(self.dc_offsets) or self.only_channel is not None

    def repair(self, block: Samples) -> Samples:
        """(frames, channels) without the flaws: all channels, or (frames, 1) if they cancel each other."""
        if self.dc_offsets:
            block = block - np.array(self.dc_offsets, np.float32)
        return block if self.only_channel is None else block[:, self.only_channel : self.only_channel + 1]

    def warnings(self) -> tuple[str, ...]:
        """One sentence for each flaw."""
        sentences = []
        if self.dc_offsets:
            largest = max(self.dc_offsets, key=abs)
            sentences.append(f"it has a DC offset of {largest:.0%} of full scale, which is removed before training")
        if self.only_channel is not None:
            sentences.append(
                "its channels cancel each other (opposite polarity), so that a mono mix is nearly silent: only channel "
                f"{self.only_channel + 1} is used"
            )
        return tuple(sentences)


NO_FLAWS = Flaws()


class FlawMeter:
    """Looks for flaws in blocks of (frames, channels), in constant memory."""

    def __init__(self, channels: int) -> None:
        self._frames = 0
        self._sums = np.zeros(channels)
        self._products = np.zeros((channels, channels))

    def add(self, block: Samples) -> None:
        self._frames += len(block)
        self._sums += np.ones(len(block), np.float32) @ block
        self._products += block.T @ block

    def flaws(self) -> Flaws:
        """The flaws in all blocks so far."""
        if not self._frames:
            return Flaws()
        means = self._sums / self._frames
        covariances = self._products / self._frames - np.outer(means, means)
        powers, mono_power = covariances.diagonal(), covariances.mean()
        cancels = powers.mean() > AUDIBLE_POWER and mono_power < MIN_MONO_POWER_RATIO * powers.mean()
        return Flaws(
            tuple(float(mean) for mean in means) if np.abs(means).max() >= MIN_DC_OFFSET else (),
            int((powers > 0.99 * powers.max()).argmax()) if cancels else None,  # the first of the loudest
        )
