"""Latents: whitened band levels.

The first channels are the loudness of a few wide bands, which carries the rhythm. The others are principal components
of the remainder, the strongest first, since noise masks the weak ones first. Low bands weigh more in these: most bands
are high, so that without weights the notes would be lost in the details of treble.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

LOUDNESS_HZ = (150, 500, 2000, 6000)
"""Between the wide bands."""
LOUDNESS_DEVIATION = 1.5
SPREAD = 0.25
"""A component's deviation is its variance to this power: 0 would make all alike, 0.5 leave them."""
WEIGHT_POWER, WEIGHT_RANGE = 0.75, (0.15, 5.0)
"""A band at `f` Hz weighs in proportion to `(1000 / f) ** WEIGHT_POWER`, where `1000 / f` is kept in this range."""


@dataclass(frozen=True)
class Whitening:
    """A fixed linear map between band levels and latents.

    Attributes:
        frames: of levels to a latent frame.
        wide: `[wide bands, bands]`, each row the mean over a wide band.
        mean: of the levels, `[bands]`.
        scale: deviation of loudness, `[wide bands]`.
        analysis: of the remainder after loudness, `[components, frames * bands]`.
        synthesis: back by least squares, `[frames * bands, components]`.
    """

    frames: int
    wide: Tensor
    mean: Tensor
    scale: Tensor
    analysis: Tensor
    synthesis: Tensor

    @property
    def channels(self) -> int:
        return len(self.wide) + len(self.analysis)

    def encode(self, levels: Tensor) -> Tensor:
        """Latents `[B, channels, T / frames]` of levels `[B, bands, T]`."""
        loudness, rest = _split(levels - self.mean[:, None], self.wide, self.frames)
        components = self.analysis @ rest
        return torch.cat([LOUDNESS_DEVIATION * loudness / self.scale[:, None], components], 1)

    def change(self, levels: Tensor) -> Tensor:
        """What the same change of the levels `[bands]` in all frames adds to each latent frame, `[channels]`.

        The map is linear, so an equaliser's curve needs no audio.
        """
        steady = (self.mean + levels)[None, :, None].expand(1, -1, self.frames)
        return self.encode(steady)[0, :, 0]

    def decode(self, latents: Tensor) -> Tensor:
        """Levels `[B, bands, T * frames]` of latents `[B, channels, T]`."""
        count = len(self.wide)
        loudness = latents[:, :count] * self.scale[:, None] / LOUDNESS_DEVIATION
        rest = self.synthesis @ latents[:, count:]
        bands = self.wide.shape[1]
        frames = rest.unflatten(1, (self.frames, bands)) + (_spread(self.wide) @ loudness)[:, None]
        return frames.permute(0, 2, 3, 1).flatten(2) + self.mean[:, None]


def wide_bands(centres: Tensor) -> Tensor:
    """`[wide bands, bands]` for bands with these centres in Hz."""
    group = torch.bucketize(centres, torch.tensor(LOUDNESS_HZ, dtype=centres.dtype))
    member = (group == torch.arange(len(LOUDNESS_HZ) + 1)[:, None]).float()
    return member / member.sum(1, keepdim=True)


def band_weights(centres: Tensor) -> Tensor:
    """What bands with these centres in Hz weigh in the components and in losses, `[bands]` with mean 1."""
    weights = (1000 / centres).clamp(*WEIGHT_RANGE) ** WEIGHT_POWER
    return weights / weights.mean()


def fit_whitening(levels: Tensor, wide: Tensor, weights: Tensor, frames: int, channels: int) -> Whitening:
    """Fit a map to `channels` latent channels to the levels of music `[B, bands, T]`.

    Args:
        weights: of the bands, `[bands]`.
    """
    mean = levels.mean((0, 2))
    loudness, rest = _split(levels - mean[:, None], wide, frames)
    scale = loudness.transpose(0, 1).flatten(1).std(1)
    covariance = torch.cov(rest.transpose(0, 1).flatten(1)).double()
    repeated = weights.repeat(frames).double()
    values, vectors = torch.linalg.eigh(repeated[:, None] * covariance * repeated)
    kept = channels - len(wide)
    values, vectors = values.flip(0)[:kept], vectors.flip(1)[:, :kept]
    size = (values / values.mean()) ** SPREAD / values.sqrt()
    analysis = size[:, None] * vectors.T * repeated
    shared = covariance @ analysis.T
    synthesis = torch.linalg.solve(analysis @ shared, shared.T).T
    return Whitening(frames, wide, mean, scale, analysis.float(), synthesis.float())


def _spread(wide: Tensor) -> Tensor:
    """`[bands, wide bands]`: each band gets the loudness of its wide band."""
    return (wide > 0).to(wide).T


def _split(levels: Tensor, wide: Tensor, frames: int) -> tuple[Tensor, Tensor]:
    """Loudness `[B, wide bands, T / frames]` and the remainder `[B, frames * bands, T / frames]`."""
    grouped = levels.unflatten(2, (-1, frames)).permute(0, 3, 1, 2)
    loudness = wide @ grouped.mean(1)
    rest = grouped - (_spread(wide) @ loudness)[:, None]
    return loudness, rest.flatten(1, 2)
