"""What MusicGen reads: one caption, encoded by T5. Training and generation both come through here."""

from __future__ import annotations

import torch
from transformers import MusicgenForConditionalGeneration, PreTrainedTokenizerBase

from models.base import Text

_MAX_LYRICS = 200


def caption(text: Text) -> str:
    """The prompt with tempo, key, metre and the words appended, since MusicGen has no fields for them.

    It does not sing: the words colour the music, and only their beginning is given, lest they drown the prompt.
    """
    words = " ".join(text.lyrics.split())[:_MAX_LYRICS]
    facts = [
        f"{text.bpm} bpm" if text.bpm is not None else None,
        text.key,
        f"{text.time_signature}/4 time" if text.time_signature else None,
        f'with the words "{words}"' if words else None,
    ]
    return ", ".join(part for part in (text.prompt.strip(), *facts) if part)


@torch.no_grad()
def encode(model: MusicgenForConditionalGeneration, tokenizer: PreTrainedTokenizerBase, text: Text) -> torch.Tensor:
    """`[L, hidden]` for the decoder's cross-attention, in the decoder's dtype.

    One text at a time: padded beside a longer one, its states would differ in their last bits.
    """
    tokens = tokenizer(caption(text), return_tensors="pt").input_ids.to(model.device)
    states = model.text_encoder(input_ids=tokens).last_hidden_state[0]
    if hasattr(model, "enc_to_dec_proj"):
        states = model.enc_to_dec_proj(states)
    return states.to(model.decoder.dtype)
