"""The architecture of the starter: a small ACE-Step pipeline."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from diffusers import AutoencoderOobleck
from diffusers.models.transformers.ace_step_transformer import AceStepTransformer1DModel
from diffusers.pipelines.ace_step import AceStepConditionEncoder
from transformers import Qwen3Config, Qwen3Model

from ..data import SAMPLE_RATE
from ..levels import BANDS

STRIDES = (10, 4, 4)
"""Even ones, because odd strides shorten the output."""
HOP = 160
"""Samples to a latent frame: 150 frames a second."""
LATENT = 16
"""Channels of a latent frame."""
PATCH = 12
"""Latent frames to a token of the transformer: 12.5 tokens a second, like the original's."""


@dataclass(frozen=True)
class LatentShape:
    """What the transformer has to know of a codec's latents.

    Attributes:
        channels: of a frame.
        hop: samples to a frame.
        patch: frames to a token of the transformer; `channels * patch` numbers hold the clock.
        levels: channels of loudness, which come first.
        noise: channels of noise, which come last.
    """

    channels: int
    hop: int
    patch: int
    levels: int
    noise: int = 0

    def frames(self, seconds: float) -> int:
        return round(seconds * SAMPLE_RATE / self.hop)


SHAPE = LatentShape(LATENT, HOP, PATCH, levels=len(BANDS))


def build_codec() -> AutoencoderOobleck:
    """The codec with random weights: 24 kHz mono to 16 channels at 150 Hz.

    By the architecture the encoder's width at the full rate is twice the latent's.
    """
    return AutoencoderOobleck(
        encoder_hidden_size=2 * LATENT,
        downsampling_ratios=list(STRIDES),
        channel_multiples=[2, 4, 8],
        decoder_channels=24,
        decoder_input_channels=LATENT,
        audio_channels=1,
        sampling_rate=SAMPLE_RATE,
    )


def encode_mean(codec: AutoencoderOobleck, audio: torch.Tensor) -> torch.Tensor:
    """Latent means `[B, LATENT, T / HOP]` of audio `[B, 1, T]`."""
    return codec.encoder(audio).chunk(2, dim=1)[0]


WIDTH = 256
TEXT_WIDTH = 128
CLOCK_TEMPOS = range(70, 162, 2)
"""Tempos, in beats per minute, that have hands on the clock."""
CLOCK_PERIODS = (120.0, 40.0, 16.0, 6.0)
"""Seconds; further hands, for the position in the piece."""


def build_transformer(shape: LatentShape = SHAPE) -> AceStepTransformer1DModel:
    return AceStepTransformer1DModel(
        hidden_size=WIDTH,
        intermediate_size=704,
        num_hidden_layers=6,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=64,
        in_channels=3 * shape.channels,
        audio_acoustic_hidden_dim=shape.channels,
        patch_size=shape.patch,
        rope_theta=10_000.0,
        sliding_window=64,
        encoder_hidden_size=TEXT_WIDTH,
    )


def build_text_encoder(vocabulary: int) -> Qwen3Model:
    return Qwen3Model(
        Qwen3Config(
            hidden_size=TEXT_WIDTH,
            intermediate_size=2 * TEXT_WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=TEXT_WIDTH // 4,
            vocab_size=vocabulary,
            max_position_embeddings=2048,
        )
    )


def build_condition_encoder(timbre_layers: int = 1, shape: LatentShape = SHAPE) -> AceStepConditionEncoder:
    """The condition encoder. Its timbre encoder is small, as it reads 30 s of latents.

    With one layer it sees a tenth of a second only: the token that it returns is the first one, and the first layer
    attends to its neighbours. The second layer attends to everything.
    """
    encoder = AceStepConditionEncoder(
        hidden_size=TEXT_WIDTH,
        intermediate_size=2 * TEXT_WIDTH,
        text_hidden_dim=TEXT_WIDTH,
        timbre_hidden_dim=shape.channels,
        num_lyric_encoder_hidden_layers=1,
        num_timbre_encoder_hidden_layers=timbre_layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=TEXT_WIDTH // 4,
        rope_theta=10_000.0,
        sliding_window=16,
    )
    with torch.no_grad():
        encoder.null_condition_emb.mul_(0.3)
        encoder.silence_latent.copy_(clock(encoder.silence_latent.shape[1], shape))
    return encoder


def clock(length: int, shape: LatentShape = SHAPE) -> torch.Tensor:
    """A positional encoding in place of the latents of silence, `[1, length, channels]`.

    The pipeline passes the transformer `silence_latent`, from the start of each piece, as context. The starter's is a
    clock: each token's patch holds sine and cosine hands, for each tempo one that turns once a bar and one that turns
    once a beat, and a few slow ones. To be on the beat, the model only has to attend to the hands of the prompt's
    tempo. Tempos outside the clock's range use the hands of half or double time.
    """
    tempos = [beats * 60.0 / bpm for beats in (4, 1) for bpm in CLOCK_TEMPOS]
    periods = torch.tensor(tempos + list(CLOCK_PERIODS), dtype=torch.float64)
    start = torch.arange(-(-length // shape.patch), dtype=torch.float64) * shape.patch * shape.hop / SAMPLE_RATE
    turns = 2 * torch.pi * start[:, None] / periods
    hands = torch.stack([turns.sin(), turns.cos()], -1).flatten(1)
    return hands.float().reshape(-1, shape.channels)[None, :length]
