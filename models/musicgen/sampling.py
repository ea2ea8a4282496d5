"""Samples the next codes from the logits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from transformers import GenerationConfig


@dataclass(frozen=True)
class Sampling:
    """A checkpoint's sampling options, for requests that do not set them.

    Attributes:
        guidance: classifier-free guidance scale.
        top_k: number of the likeliest codes from which one is drawn.
        temperature: above 1 flattens the distribution, 0 takes the likeliest code.
    """

    guidance: float = 3.0
    top_k: int = 250
    temperature: float = 1.0

    @classmethod
    def of(cls, config: GenerationConfig) -> Self:
        """The checkpoint's settings, and otherwise MusicGen's defaults."""
        return cls(
            guidance=config.guidance_scale or cls.guidance,
            top_k=config.top_k or cls.top_k,
            temperature=config.temperature or cls.temperature,
        )


def choose(logits: torch.Tensor, top_k: int, generators: Sequence[torch.Generator | None]) -> torch.Tensor:
    """Draw the next codes `[B, K]` from logits `[B, K, V]`, row i with `generators[i]`.

    A row without a generator takes the likeliest codes. Drawing from probabilities p is taking the largest p / e, with
    e from an exponential distribution, as `torch.multinomial` does. Here e is drawn on the CPU, so that a seed gives
    the same codes on every device.
    """
    if top_k < logits.shape[-1]:
        logits = logits.masked_fill(logits < _smallest_of_top(logits, top_k), float("-inf"))
    # A copy to the GPU from memory that is not pinned would block.
    noise = torch.empty(logits.shape, device="cpu", pin_memory=logits.is_cuda)
    for row, generator in zip(noise, generators, strict=True):
        if generator:
            row.exponential_(generator=generator)
        else:
            row.fill_(1)
    return (logits.softmax(dim=-1) / noise.to(logits.device, non_blocking=True)).argmax(dim=-1)


def _smallest_of_top(logits: torch.Tensor, top_k: int) -> torch.Tensor:
    """The value of rank `top_k` in each distribution, `[B, K, 1]`."""
    if logits.device.type == "cpu" and logits.dtype == torch.float32:  # numpy's selection takes a quarter of the time
        at = logits.shape[-1] - top_k
        return torch.from_numpy(np.partition(logits.numpy(), at, axis=-1)[..., at : at + 1])
    return logits.topk(top_k, dim=-1).values[..., -1:]
