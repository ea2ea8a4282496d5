"""The encoder's last convolution, whose weights are fitted by least squares."""

from __future__ import annotations

import numpy as np
import torch
from diffusers import AutoencoderOobleck
from torch import Tensor
from torch.nn import functional as F

from recipes.first_edition.ace_step.transform import set_weight, weight_of
from recipes.first_edition.precision import autocast

from .architecture import LATENT, NOISE
from .cuts import Cuts
from .start import front

BATCHES, BATCH = 40, 8
RIDGE = 1e-3
"""Penalty, as a share of the features' variance."""


@torch.no_grad()
def fit_head(codec: AutoencoderOobleck, cuts: Cuts, edge: int) -> None:
    """Set the weights of the latents without noise to the best linear ones; those of the noise stay.

    From random ones, a thousand steps of training would go into their scale.

    Args:
        edge: frames at both ends of a cut that are left out.
    """
    encoder = codec.encoder
    head, used = encoder.conv2, slice(0, LATENT - NOISE)
    weight, bias = weight_of(head), head.bias.clone()
    free = ~(weight[LATENT - NOISE : LATENT].abs().sum((0, 2)) > 0)
    features, latents = [], []
    for number in range(BATCHES):
        audio, wanted = cuts.draw(BATCH, np.random.default_rng([3, number]))
        with autocast("cpu"):
            before = before_head(codec, audio[:, None]).float()
        columns = F.unfold(before[:, free, None], (1, weight.shape[2]), padding=(0, weight.shape[2] // 2))
        features.append(columns[..., edge:-edge].transpose(1, 2).flatten(0, 1))
        latents.append(wanted[..., edge:-edge].transpose(1, 2).flatten(0, 1))
    found, target = torch.cat(features).double(), torch.cat(latents).double()
    centre, aim = found.mean(0), target.mean(0)
    found, target = found - centre, target - aim
    gram = found.T @ found
    gram += RIDGE * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype)
    solved = torch.linalg.solve(gram, found.T @ target)
    weight[used] = 0
    weight[used, free] = solved.T.reshape(LATENT - NOISE, int(free.sum()), -1).float()
    bias[used] = (aim - centre @ solved).float()
    set_weight(head, weight, bias)


def before_head(codec: AutoencoderOobleck, audio: Tensor) -> Tensor:
    """What the encoder's last convolution reads, `[B, C, T]`, of audio `[B, 1, samples]`."""
    states = front(codec, audio)
    for block in codec.encoder.block[1:]:
        states = block(states)
    activated: Tensor = codec.encoder.snake1(states)
    return activated
