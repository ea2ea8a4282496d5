"""The architecture of the starter: a small MusicGen."""

from __future__ import annotations

from transformers import (
    EncodecConfig,
    EncodecModel,
    MusicgenConfig,
    MusicgenDecoderConfig,
    T5Config,
)

from ..data import SAMPLE_RATE

STRIDES = (4, 5, 6, 8)
"""Of the encoder from the outside in."""
HOP = 960
"""Samples to a frame: 25 frames a second, half of the original's.

Training and generation cost a decoder position for each frame. Six codebooks in place of four make up for the longer
frame: 1.5 kbit/s.
"""
CODEBOOKS = 6
CODES = 1024
LEVEL_SLOTS = 2
"""Loudness values of each band in a frame."""
WIDTH = 256
TEXT_WIDTH = 128
WINDOW_SECONDS = 30
DROPOUT = 0.1
"""Of the decoder: it overfits sooner than ACE-Step's transformer, which sees songs in noise only."""


def codec_config() -> EncodecConfig:
    return EncodecConfig(
        sampling_rate=SAMPLE_RATE,
        target_bandwidths=[CODEBOOKS * 10 * SAMPLE_RATE / HOP / 1000],  # 10 bits for one of 1,024 codes
        codebook_size=CODES,
        hidden_size=128,
        num_filters=16,
        upsampling_ratios=list(reversed(STRIDES)),
        num_lstm_layers=1,
        use_causal_conv=False,
        use_conv_shortcut=False,
    )


def build_codec() -> EncodecModel:
    """The codec with random weights: 24 kHz mono to 128 values at 25 Hz, quantised by `CODEBOOKS` of `CODES`."""
    return EncodecModel(codec_config())


def config(vocabulary: int) -> MusicgenConfig:
    return MusicgenConfig(
        text_encoder=T5Config(
            vocab_size=vocabulary,
            d_model=TEXT_WIDTH,
            d_kv=32,
            d_ff=2 * TEXT_WIDTH,
            num_layers=2,
            num_heads=4,
            dropout_rate=0.0,
            feed_forward_proj="gated-gelu",
        ),
        audio_encoder=codec_config(),
        decoder=MusicgenDecoderConfig(
            vocab_size=CODES,
            pad_token_id=CODES,
            bos_token_id=CODES,
            num_codebooks=CODEBOOKS,
            hidden_size=WIDTH,
            num_hidden_layers=6,
            num_attention_heads=4,
            ffn_dim=4 * WIDTH,
            dropout=DROPOUT,
            attention_dropout=0.0,
            activation_dropout=0.0,
        ),
    )
