"""Encodes MusicGen's caption with T5, in training and in generation."""

from __future__ import annotations

import torch
from transformers import MusicgenForConditionalGeneration, PreTrainedTokenizerBase

from models.base import Text

_MAX_LYRICS_LENGTH = 200


def caption(text: Text) -> str:
    """The prompt with tempo, key, time signature and lyrics appended, since MusicGen has no fields for them.

    MusicGen does not sing, but the lyrics influence the mood. They are cut off so that the prompt keeps its weight.
    """
    words = " ".join((text.lyrics or "").split())[:_MAX_LYRICS_LENGTH]
    facts = [
        f"{text.bpm} bpm" if text.bpm is not None else None,
        text.key,
        f"{text.time_signature}/4 time" if text.time_signature else None,
        f'with the words "{words}"' if words else None,
    ]
    return ", ".join(part for part in (text.prompt.strip(), *facts) if part)


@torch.no_grad()
def encode(model: MusicgenForConditionalGeneration, tokenizer: PreTrainedTokenizerBase, text: Text) -> torch.Tensor:
    """Encode a text to `[L, hidden]` for the decoder's cross-attention, in the decoder's dtype.

    Texts are encoded one at a time: padded to the length of another, their states would differ in the last bits.
    """
    tokens = tokenizer(caption(text), return_tensors="pt").input_ids.to(model.decoder.device)
    states = model.text_encoder(input_ids=tokens).last_hidden_state[0]
    if hasattr(model, "enc_to_dec_proj"):
        states = model.enc_to_dec_proj(states)
    return states.to(model.decoder.dtype)
