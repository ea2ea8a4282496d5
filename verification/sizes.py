"""The sizes of the public checkpoints."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from diffusers import AutoencoderOobleck
from diffusers.models.transformers.ace_step_transformer import AceStepTransformer1DModel
from diffusers.pipelines.ace_step import (
    AceStepAudioTokenDetokenizer,
    AceStepAudioTokenizer,
    AceStepConditionEncoder,
)
from transformers import (
    EncodecConfig,
    MusicgenConfig,
    MusicgenDecoderConfig,
    MusicgenForConditionalGeneration,
    Qwen3Config,
    Qwen3Model,
    T5Config,
)

_CODES = 2048


@dataclass(frozen=True)
class AceStepSize:
    """The sizes in which an ACE-Step 1.5 checkpoint differs from the 2B one.

    Attributes:
        variant: the authors' name, by which the sampling defaults are chosen.
        transformer: arguments of diffusers' transformer.
    """

    variant: str
    transformer: dict[str, Any] = field(default_factory=dict)


ACE_STEP = {
    "2B": AceStepSize("acestep-v15-turbo"),
    "XL": AceStepSize(
        "acestep-v15-xl-turbo",
        {
            "hidden_size": 2560,
            "intermediate_size": 9728,
            "num_hidden_layers": 32,
            "num_attention_heads": 32,
            "encoder_hidden_size": 2048,
        },
    ),
}
MUSICGEN = ("musicgen-small",)


@contextmanager
def in_bfloat16() -> Iterator[None]:
    """Within the block modules are made in bfloat16, as ACE-Step's weights are published."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def transformer(size: AceStepSize) -> torch.nn.Module:
    return AceStepTransformer1DModel(**size.transformer, is_turbo=True)


def condition_encoder() -> torch.nn.Module:
    return AceStepConditionEncoder()


def audio_tokenizer() -> torch.nn.Module:
    return AceStepAudioTokenizer()


def audio_token_detokenizer() -> torch.nn.Module:
    return AceStepAudioTokenDetokenizer()


def vae() -> torch.nn.Module:
    return AutoencoderOobleck(
        downsampling_ratios=[2, 4, 4, 6, 10], channel_multiples=[1, 2, 4, 8, 16], sampling_rate=48_000
    )


def text_encoder() -> torch.nn.Module:
    """Qwen3-Embedding-0.6B."""
    return Qwen3Model(
        Qwen3Config(
            vocab_size=151_669,
            hidden_size=1024,
            intermediate_size=3072,
            num_hidden_layers=28,
            num_attention_heads=16,
            num_key_value_heads=8,
            head_dim=128,
            max_position_embeddings=32_768,
            tie_word_embeddings=True,
        )
    )


def musicgen_small() -> MusicgenForConditionalGeneration:
    return MusicgenForConditionalGeneration(
        MusicgenConfig(
            text_encoder=T5Config(
                vocab_size=32_128, d_model=768, d_kv=64, d_ff=3072, num_layers=12, num_heads=12, dropout_rate=0.1
            ),
            audio_encoder=EncodecConfig(
                sampling_rate=32_000,
                target_bandwidths=[2.2],
                codebook_size=_CODES,
                codebook_dim=128,
                hidden_size=128,
                num_filters=64,
                upsampling_ratios=[8, 5, 4, 4],
                use_causal_conv=False,
                use_conv_shortcut=False,
            ),
            decoder=MusicgenDecoderConfig(
                vocab_size=_CODES,
                pad_token_id=_CODES,
                bos_token_id=_CODES,
                hidden_size=1024,
                num_hidden_layers=24,
                num_attention_heads=16,
                ffn_dim=4096,
            ),
        )
    )
