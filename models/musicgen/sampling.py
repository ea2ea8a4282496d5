"""Choosing the next codes from the logits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from transformers import GenerationConfig


@dataclass(frozen=True)
class Sampling:
    """How codes are chosen.

    Attributes:
        guidance: classifier-free guidance scale of a row that names none.
        top_k: only so many of the likeliest codes can be drawn.
        temperature: of a row that names none; above 1 flattens the distribution, 0 takes the likeliest code.
    """

    guidance: float = 3.0
    top_k: int = 250
    temperature: float = 1.0

    @classmethod
    def of(cls, config: GenerationConfig) -> Self:
        """What the checkpoint asks for, and MusicGen's own defaults where it says nothing."""
        return cls(
            guidance=config.guidance_scale or cls.guidance,
            top_k=config.top_k or cls.top_k,
            temperature=config.temperature or cls.temperature,
        )


def choose(logits: torch.Tensor, top_k: int, generators: Sequence[torch.Generator | None]) -> torch.Tensor:
    """The next codes `[B, K]` from logits `[B, K, V]`; row i draws from its own `generators[i]` alone.

    To draw from probabilities p is to take the largest p / e with e from an exponential distribution, which is how
    `torch.multinomial` does it. Here e comes from the CPU, so that a seed means the same on every device. A row without
    a generator takes the likeliest.
    """
    if top_k < logits.shape[-1]:
        smallest = logits.topk(top_k, dim=-1).values[..., -1:]
        logits = logits.masked_fill(logits < smallest, float("-inf"))
    # A copy from memory that is not pinned would be waited for.
    noise = torch.empty(logits.shape, device="cpu", pin_memory=logits.is_cuda)
    for row, generator in zip(noise, generators, strict=True):
        if generator:
            row.exponential_(generator=generator)
        else:
            row.fill_(1)
    return (logits.softmax(dim=-1) / noise.to(logits.device, non_blocking=True)).argmax(dim=-1)
