"""The timbre of a reference recording. Nobody sends one, so it is always that of silence, and is encoded once."""

from __future__ import annotations

import math

import torch
from diffusers import AceStepPipeline

_SECONDS = 30


class SilentTimbre(torch.nn.Module):
    """Stands in the condition encoder for its timbre encoder, whose answer to silence it gives.

    It is the silence that the model was trained with: zeros would be outside what it knows.
    """

    timbre: torch.Tensor

    @torch.no_grad()
    def __init__(self, pipeline: AceStepPipeline) -> None:
        super().__init__()
        encoder = pipeline.condition_encoder
        length = math.ceil(_SECONDS * pipeline.latents_per_second)
        silence = encoder.silence_latent[:, :length].to(encoder.device, encoder.dtype)
        owner = torch.zeros(1, dtype=torch.long, device=encoder.device)
        self.register_buffer("timbre", encoder.timbre_encoder(silence, owner)[0])

    def forward(self, recordings: torch.Tensor, owners: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """`[rows, 1, D]`, and ones `[rows, 1]` as its mask.

        Args:
            recordings: not read.
            owners: the row of each recording; each has one.
        """
        rows = len(owners)
        return self.timbre.expand(rows, -1, -1), owners.new_ones(rows, 1)
