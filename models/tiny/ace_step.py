"""A tiny ACE-Step 1.5 checkpoint: all components of the real pipeline, random weights, under 2 MB."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AceStepPipeline, AutoencoderOobleck, FlowMatchEulerDiscreteScheduler
from diffusers.models.transformers.ace_step_transformer import AceStepTransformer1DModel
from diffusers.pipelines.ace_step import (
    AceStepAudioTokenDetokenizer,
    AceStepAudioTokenizer,
    AceStepConditionEncoder,
)
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3Model

_SEED = 20_250_801
_LATENT = 8
_TEXT = 32
_HIDDEN = 64


def build(folder: Path) -> None:
    """Write the checkpoint into `folder`: 48 kHz stereo, latents of 8 channels at 25 Hz, guidance-free (turbo)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        tokenizer = _tokenizer()
        pipeline = AceStepPipeline(
            vae=_vae(),
            text_encoder=Qwen3Model(
                Qwen3Config(
                    vocab_size=len(tokenizer),
                    hidden_size=_TEXT,
                    intermediate_size=2 * _TEXT,
                    num_hidden_layers=2,
                    num_attention_heads=2,
                    num_key_value_heads=1,
                    head_dim=16,
                    max_position_embeddings=2048,
                    initializer_range=0.2,
                )
            ),
            tokenizer=tokenizer,
            transformer=AceStepTransformer1DModel(
                hidden_size=_HIDDEN,
                intermediate_size=2 * _HIDDEN,
                num_hidden_layers=2,
                num_attention_heads=4,
                num_key_value_heads=2,
                head_dim=16,
                in_channels=3 * _LATENT,
                audio_acoustic_hidden_dim=_LATENT,
                sliding_window=16,
                encoder_hidden_size=_TEXT,
                is_turbo=True,
            ),
            condition_encoder=_condition_encoder(),
            scheduler=FlowMatchEulerDiscreteScheduler(num_train_timesteps=1, shift=1.0),
            audio_tokenizer=AceStepAudioTokenizer(fsq_dim=_TEXT, **_tokenizer_sizes()),
            audio_token_detokenizer=AceStepAudioTokenDetokenizer(**_tokenizer_sizes()),
        )
    pipeline.save_pretrained(folder, safe_serialization=True)


def _vae() -> AutoencoderOobleck:
    return AutoencoderOobleck(
        encoder_hidden_size=2 * _LATENT,
        downsampling_ratios=[10, 8, 6, 4],
        channel_multiples=[1, 2, 2, 4],
        decoder_channels=4,
        decoder_input_channels=_LATENT,
        audio_channels=2,
        sampling_rate=48_000,
    )


def _condition_encoder() -> AceStepConditionEncoder:
    encoder = AceStepConditionEncoder(
        hidden_size=_TEXT,
        intermediate_size=2 * _TEXT,
        text_hidden_dim=_TEXT,
        timbre_hidden_dim=_LATENT,
        num_lyric_encoder_hidden_layers=1,
        num_timbre_encoder_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        sliding_window=16,
    )
    encoder.silence_latent.normal_(std=0.1)
    return encoder


def _tokenizer_sizes() -> dict[str, int]:
    return {
        "hidden_size": _TEXT,
        "intermediate_size": 2 * _TEXT,
        "audio_acoustic_hidden_dim": _LATENT,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 16,
        "sliding_window": 16,
    }


def _tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level tokenizer without merges, which can read any prompt."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate(["<|endoftext|>", *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|endoftext|>",  # nosec B106
        pad_token="<|endoftext|>",  # nosec B106
        padding_side="right",
    )
