"""Keeps the source outside the windows while a row is denoised, as the authors' sampler does."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

# Frames outside either end of a window over which the result fades into the source.
FADE_FRAMES = 10


def noised(source: Tensor, noise: Tensor, time: float) -> Tensor:
    """The source at a timestep: (1 − t) · source + t · noise. Computed in single precision."""
    return torch.lerp(source.float(), noise.float(), time).type_as(noise)


class Injection:
    """Replaces a row's latents outside the windows by those of the noised source.

    Without it the model generates the outside anew, and the inside continues that rather than the source.

    Args:
        source: its latents, `[1, T, C]`.
        noise: that which the row starts from, `[1, T, C]`.
        windows: the first frame of each window and the one behind it.
        steps: number of steps after each of which the latents are replaced. In the steps that follow, the model smooths
            the edges. At the end the outside becomes the source's once more.
    """

    def __init__(self, source: Tensor, noise: Tensor, windows: Sequence[tuple[int, int]], steps: int) -> None:
        self._source, self._noise, self._steps = source, noise, steps
        frames = torch.arange(source.shape[1])
        distances = [torch.maximum(start - frames, frames - (end - 1)).clamp(min=0) for start, end in windows]
        distance = torch.stack(distances).amin(0)
        self._inside = (distance == 0)[None, :, None].to(source.device)
        # From 1 in a window to 0 at `FADE_FRAMES + 1` frames from it.
        self._share = (1 - distance / (FADE_FRAMES + 1)).clamp(min=0)[None, :, None].to(source.device)

    def apply(self, latents: Tensor, step: int, time: float) -> Tensor:
        """The latents `[1, T, C]` after `step` steps, at timestep `time`; 0 is the end."""
        if time == 0:
            return torch.lerp(self._source.float(), latents.float(), self._share).type_as(latents)
        if step <= self._steps:
            return torch.where(self._inside, latents, noised(self._source, self._noise, time))
        return latents
