"""The starter with the parts that the tasks need."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerFast

from ...state import Checkpoints
from ..architecture import SHAPE, LatentShape
from ..model import Starter
from ..prompts import template_parts
from .prompts import build_task_tokenizer
from .timbre import LAYERS, PART_SECONDS, timbre_token


class TaskStarter(Starter):
    """The starter with a trained timbre encoder of two layers, and a larger vocabulary.

    Args:
        tokenizer: one with the tasks' instructions; default: that of the first edition.
        shape: of the latents.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast | None = None, shape: LatentShape = SHAPE) -> None:
        super().__init__(tokenizer or build_task_tokenizer(), LAYERS, shape)
        self.condition_encoder.timbre_encoder.requires_grad_(True)

    @torch.no_grad()
    def start_from(self, weights: dict[str, torch.Tensor]) -> None:
        """Take over the weights of a `Starter`, so that text-to-music starts as it was.

        Instructions start as text-to-music's, and the second layer of the timbre encoder adds nothing yet.
        """
        table = "text_encoder.embed_tokens.weight"
        own = self.state_dict()
        known = weights[table]
        first = self.tokenizer.convert_tokens_to_ids(template_parts()[0])
        own[table][: len(known)] = known
        own[table][len(known) :] = known[first] + 0.02 * torch.randn_like(own[table][len(known) :])
        _, unknown = self.load_state_dict({**weights, table: own[table]}, strict=False)
        if unknown:
            raise ValueError(f"these weights are of another model: {unknown[0]}")
        layer = self.condition_encoder.timbre_encoder.layers[-1]
        for adding in (layer.self_attn.to_out[0], layer.mlp.down_proj):
            adding.weight.zero_()

    def task_conditions(self, texts: list[str], lyrics: str, references: Sequence[torch.Tensor | None]) -> torch.Tensor:
        """As `conditions`, with a reference `[T, channels]` or None for each text."""
        states = self.conditions(texts, lyrics)
        given = [row for row, reference in enumerate(references) if reference is not None]
        if not given:
            return states
        latents = torch.stack([reference for reference in references if reference is not None])
        tokens = timbre_token(self.condition_encoder.timbre_encoder, latents.to(states.device))
        place = self._lyric_length(lyrics)
        states = states.clone()
        states[given, place] = tokens[:, 0].to(states.dtype)
        return states

    def _lyric_length(self, lyrics: str) -> int:
        """Tokens before the timbre's in the conditions."""
        return len(self.tokenizer(lyrics).input_ids)

    @torch.no_grad()
    def _timbre(self) -> torch.Tensor:
        """The timbre of silence, `[1, 1, TEXT_WIDTH]`, by the weights of the moment."""
        return timbre_token(self.condition_encoder.timbre_encoder, self.silence_reference)

    @property
    def silence_reference(self) -> torch.Tensor:
        """What the pipeline encodes where there is no reference, `[1, T, channels]`."""
        silence: torch.Tensor = self.condition_encoder.silence_latent
        return silence[:, : self.shape.frames(3 * PART_SECONDS)]


def load_weights(path: Path) -> dict[str, torch.Tensor]:
    """The averaged weights of a training state."""
    saved = Checkpoints(path).load()
    if saved is None:
        raise FileNotFoundError(f"{path}: unpack a checkpoint first, or train the model")
    weights: dict[str, torch.Tensor] = saved["average"]
    return weights
