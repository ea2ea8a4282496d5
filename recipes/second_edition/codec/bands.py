"""Band levels, which the latents are computed from. They hold no phase, and a gain adds the same to all of them.

Narrow bands need long windows and fast ones short windows, so low and high bands have windows of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

FLOOR = 1e-7
"""Energy added to each band: about 70 dB below full scale."""


@dataclass(frozen=True)
class Region:
    """Neighbouring bands that share a window.

    Attributes:
        window: samples of the Hann window.
        edges: centres of the bands in Hz, with one more on either side; each band is a triangle between its neighbours.
    """

    window: int
    edges: tuple[float, ...]

    @property
    def bands(self) -> int:
        return len(self.edges) - 2

    def triangles(self, rate: int) -> Tensor:
        """`[bands, bins]`, each row with sum 1: a band's level is the density of energy, whatever its width."""
        hz = np.fft.rfftfreq(self.window, 1 / rate)
        edges = np.asarray(self.edges)
        rows = [
            np.clip(np.minimum((hz - low) / (middle - low), (high - hz) / (high - middle)), 0, None)
            for low, middle, high in zip(edges[:-2], edges[1:-1], edges[2:], strict=True)
        ]
        weights = np.stack(rows)
        return torch.from_numpy(weights / weights.sum(1, keepdims=True)).float()


@dataclass(frozen=True)
class BandLevels:
    """Log energies in bands, `1 / hop` frames a sample.

    Attributes:
        rate: samples a second.
        hop: samples to a frame.
        regions: from low to high.
    """

    rate: int
    hop: int
    regions: tuple[Region, ...]

    @property
    def bands(self) -> int:
        return sum(region.bands for region in self.regions)

    @property
    def centres(self) -> Tensor:
        """Of the bands, in Hz."""
        return torch.tensor([hz for region in self.regions for hz in region.edges[1:-1]])

    @cached_property
    def _weights(self) -> list[Tensor]:
        return [region.triangles(self.rate) for region in self.regions]

    def __call__(self, audio: Tensor) -> Tensor:
        """Levels `[B, bands, T / hop]` of audio `[B, T]`, T a multiple of `hop`; windows are centred in frames."""
        parts = []
        for region, weights in zip(self.regions, self._weights, strict=True):
            window = torch.hann_window(region.window, device=audio.device)
            before = (region.window - self.hop) // 2
            padded = F.pad(audio, (before, region.window - self.hop - before))
            spectrum = torch.stft(padded, region.window, self.hop, window=window, center=False, return_complex=True)
            power = (spectrum.real.square() + spectrum.imag.square()) / window.square().sum()
            parts.append((weights.to(power) @ power + FLOOR).log())
        return torch.cat(parts, 1)


def spaced(low: float, high: float, width: float, growth: float) -> tuple[float, ...]:
    """Edges from `low` to `high` Hz whose distance is `width` at first and never below `growth` of the frequency."""
    edges = [low]
    while edges[-1] < high:
        edges.append(edges[-1] + max(width, growth * edges[-1]))
    return tuple(edges)
