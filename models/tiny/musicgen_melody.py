"""A tiny MusicGen-melody checkpoint: as the tiny MusicGen, with text and chromagram in front of the tokens."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import (
    GenerationConfig,
    MusicgenMelodyConfig,
    MusicgenMelodyDecoderConfig,
    MusicgenMelodyFeatureExtractor,
    MusicgenMelodyForConditionalGeneration,
)

from models.tiny import musicgen


def build(folder: Path) -> None:
    """Write the checkpoint into `folder`: the tiny MusicGen's codec and text encoder, and its decoder's size."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(musicgen.SEED)
        tokenizer = musicgen.tokenizer()
        parts = musicgen.config(len(tokenizer))
        decoder = {name: getattr(parts.decoder, name) for name in _SHARED}
        model = MusicgenMelodyForConditionalGeneration(
            MusicgenMelodyConfig(
                text_encoder=parts.text_encoder,
                audio_encoder=parts.audio_encoder,
                decoder=MusicgenMelodyDecoderConfig(**decoder),
                chroma_length=20,
            )
        )
        musicgen.spread(model)
        model.audio_enc_to_dec_proj.weight.data.normal_()
    start = parts.decoder.bos_token_id
    model.generation_config = GenerationConfig(
        do_sample=True,
        guidance_scale=3.0,
        max_length=1500,
        bos_token_id=start,
        pad_token_id=start,
        decoder_start_token_id=start,
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    MusicgenMelodyFeatureExtractor(sampling_rate=parts.audio_encoder.sampling_rate, chunk_length=30).save_pretrained(
        folder
    )


_SHARED = (
    "vocab_size",
    "pad_token_id",
    "bos_token_id",
    "num_codebooks",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "ffn_dim",
)
