"""The residual vector quantiser in training, which transformers' EnCodec lacks.

Codes are learned as in EnCodec (Défossez et al. 2022, 3.2): each is a moving average of the vectors that chose it, one
that is no longer chosen is replaced by a vector of the batch, and gradients go past the choice (straight-through).

The first codebook quantises the levels only, the others the rest: so the first code that a model predicts is rhythm.
"""

from __future__ import annotations

import torch
from torch import nn
from transformers import EncodecModel

from .architecture import CODEBOOKS, CODES
from .levels import LEVELS

DECAY = 0.99
UNUSED = 0.02
"""A code chosen less often than this, on average per step, is replaced."""


class Quantiser(nn.Module):
    """`codes` `[K, V, D]`, how often each is chosen `[K, V]`, and the sums of what chose it."""

    codes: torch.Tensor
    chosen: torch.Tensor
    sums: torch.Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("codes", torch.zeros(CODEBOOKS, CODES, width))
        self.register_buffer("chosen", torch.zeros(CODEBOOKS, CODES))
        self.register_buffer("sums", torch.zeros(CODEBOOKS, CODES, width))

    def forward(self, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Quantise `[B, D, T]`, and learn from it in training.

        Returns:
            The quantised values, whose gradient is that of `values`, and their squared distance.
        """
        vectors = values.detach().transpose(1, 2).flatten(0, 1)
        quantised = torch.zeros_like(vectors)
        for book in range(CODEBOOKS):
            part = own_part(vectors - quantised, book)
            choice = nearest(part, self.codes[book])
            quantised = quantised + self.codes[book][choice]
            if self.training:
                self._learn(book, part, choice)
        whole = quantised.unflatten(0, (len(values), -1)).transpose(1, 2)
        return values + (whole - values).detach(), (values - whole).square().mean()

    @torch.no_grad()
    def start(self, values: torch.Tensor, rounds: int = 10) -> None:
        """Initialise with the k-means of `[B, D, T]`, codebook by codebook."""
        vectors = values.transpose(1, 2).flatten(0, 1)
        rest = vectors.clone()
        for book in range(CODEBOOKS):
            part = own_part(rest, book)
            codes = part[torch.randperm(len(part))[:CODES]].clone()
            for _ in range(rounds):
                choice = nearest(part, codes)
                count = torch.bincount(choice, minlength=CODES)
                sums = torch.zeros_like(codes).index_add_(0, choice, part)
                spare = part[torch.randint(len(part), (CODES,))]
                codes = torch.where(count[:, None] > 0, sums / count.clamp(min=1)[:, None], spare)
            self.codes[book] = codes
            self.chosen[book] = 1.0
            self.sums[book] = codes
            rest -= codes[nearest(part, codes)]

    @torch.no_grad()
    def _learn(self, book: int, part: torch.Tensor, choice: torch.Tensor) -> None:
        count = torch.bincount(choice, minlength=CODES).to(part.dtype)
        sums = torch.zeros_like(self.codes[book]).index_add_(0, choice, part)
        self.chosen[book].lerp_(count, 1 - DECAY)
        self.sums[book].lerp_(sums, 1 - DECAY)
        unused = self.chosen[book] < UNUSED
        if unused.any():
            spare = part[torch.randint(len(part), (int(unused.sum()),))]
            self.chosen[book, unused] = 10 * UNUSED
            self.sums[book, unused] = 10 * UNUSED * spare
        self.codes[book] = self.sums[book] / self.chosen[book][:, None]

    @torch.no_grad()
    def export(self, codec: EncodecModel) -> None:
        """Copy the codebooks into EnCodec."""
        for layer, codes in zip(codec.quantizer.layers, self.codes, strict=True):
            layer.codebook.embed.copy_(codes)


def own_part(vectors: torch.Tensor, book: int) -> torch.Tensor:
    """The values of `[N, D]` that codebook number `book` quantises; zero elsewhere."""
    mask = torch.arange(vectors.shape[1], device=vectors.device) < LEVELS
    return vectors * (mask if book == 0 else ~mask)


def nearest(vectors: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
    """The index of the nearest code `[V, D]` to each vector `[N, D]`."""
    return (codes.square().sum(1) - 2 * vectors @ codes.T).argmin(1)
