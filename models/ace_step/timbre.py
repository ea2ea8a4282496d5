"""The timbre condition. Requests have no reference audio, so it is always that of silence, which is encoded once."""

from __future__ import annotations

import math

import torch
from diffusers import AceStepPipeline

_REFERENCE_SECONDS = 30


class SilentTimbre(torch.nn.Module):
    """Replaces the condition encoder's timbre encoder, and returns its output for silence.

    Silence is the checkpoint's `silence_latent`, with which the model was trained, not zeros.
    """

    timbre: torch.Tensor

    @torch.no_grad()
    def __init__(self, pipeline: AceStepPipeline) -> None:
        super().__init__()
        encoder = pipeline.condition_encoder
        length = math.ceil(_REFERENCE_SECONDS * pipeline.latents_per_second)
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
