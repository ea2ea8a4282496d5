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
        temperature: above 1 flattens the distribution.
        greedy: take the likeliest code instead of drawing one.
    """

    guidance: float = 3.0
    top_k: int = 250
    temperature: float = 1.0
    greedy: bool = False

    @classmethod
    def of(cls, config: GenerationConfig) -> Self:
        """What the checkpoint asks for, and MusicGen's own defaults where it says nothing."""
        return cls(
            guidance=config.guidance_scale or cls.guidance,
            top_k=config.top_k or cls.top_k,
            temperature=config.temperature or cls.temperature,
        )


def choose(logits: torch.Tensor, sampling: Sampling, generators: Sequence[torch.Generator]) -> torch.Tensor:
    """The next codes `[B, K]` from guided logits `[B, K, V]`; row i draws from its own `generators[i]` alone.

    To draw from probabilities p is to take the largest p / e with e from an exponential distribution, which is how
    `torch.multinomial` does it. Here e comes from the CPU, so that a seed means the same on every device.
    """
    if sampling.greedy:
        return logits.argmax(dim=-1)
    kept = logits / sampling.temperature
    if sampling.top_k < logits.shape[-1]:
        smallest = kept.topk(sampling.top_k, dim=-1).values[..., -1:]
        kept = kept.masked_fill(kept < smallest, float("-inf"))
    noise = torch.stack([torch.empty(logits.shape[1:]).exponential_(generator=each) for each in generators])
    return (kept.softmax(dim=-1) / noise.to(logits.device, non_blocking=True)).argmax(dim=-1)
