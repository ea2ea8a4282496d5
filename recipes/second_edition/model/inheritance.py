"""Start the transformer from the first edition's, which has learned words, form, and to follow its clock."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AceStepPipeline
from torch import Tensor

from recipes.first_edition.ace_step.architecture import SHAPE as FIRST
from recipes.first_edition.ace_step.architecture import LatentShape
from recipes.first_edition.ace_step.model import PARTS, Starter

_TABLE = "embed_tokens.weight"
NEAREST_LEVELS = (0, 1, 1, 2, 3)
"""The band of the first edition's loudness that is nearest to each of the second's."""


@torch.no_grad()
def inherit(starter: Starter, shipped: Path) -> None:
    """Copy the weights of equal shape of the pipeline in `shipped`, and its words and patches as far as they match.

    A token of the transformer has as many numbers in both editions, the clock's in the same order. Of the latents only
    the levels are alike, so the weights of the other channels stay as they are. Words are found by their text.
    """
    pipeline = AceStepPipeline.from_pretrained(shipped, torch_dtype=torch.float32)
    for part in PARTS:
        own, known = getattr(starter, part).state_dict(), getattr(pipeline, part).state_dict()
        for name, value in known.items():
            if name in own and own[name].shape == value.shape:
                own[name].copy_(value)
    _copy_words(starter, pipeline)
    own, known = starter.transformer.state_dict(), pipeline.transformer.state_dict()
    _patches_in(own["proj_in_conv.weight"], known["proj_in_conv.weight"], starter.shape)
    for level, other in enumerate(NEAREST_LEVELS):
        # One frame is as long as a frame and a half of the first edition's; a token has half as many.
        halves = known["proj_out_conv.weight"][:, other].unflatten(1, (starter.shape.patch, -1))
        own["proj_out_conv.weight"][:, level] = halves.mean(2)
        own["proj_out_conv.bias"][level] = known["proj_out_conv.bias"][other]


def _copy_words(starter: Starter, pipeline: AceStepPipeline) -> None:
    table, known = starter.text_encoder.state_dict()[_TABLE], pipeline.text_encoder.state_dict()[_TABLE]
    tokens = pipeline.tokenizer.get_vocab()
    for word, row in starter.tokenizer.get_vocab().items():
        if word in tokens:
            table[row] = known[tokens[word]]


def _patches_in(own: Tensor, known: Tensor, shape: LatentShape) -> None:
    """Change the weights `[width, 3 * channels, patch]` of source, mask and noisy latents."""
    for place in range(2):
        part = known[:, place * FIRST.channels : (place + 1) * FIRST.channels]
        numbers = part.transpose(1, 2).flatten(1)  # in the order of the clock's
        rows = slice(place * shape.channels, (place + 1) * shape.channels)
        own[:, rows] = numbers.unflatten(1, (shape.patch, shape.channels)).transpose(1, 2)
    for level, other in enumerate(NEAREST_LEVELS):
        theirs = known[:, 2 * FIRST.channels + other].unflatten(1, (shape.patch, -1))
        own[:, 2 * shape.channels + level] = theirs.sum(2)
