"""The codec's sizes, within what diffusers' `AutoencoderOobleck` can be.

Encoder and decoder share strides and multiples, and the encoder is twice as wide at the full rate as the latent has
channels: 64 channels at 25 Hz would make it four times as dear as 32 at 50 Hz.
"""

from __future__ import annotations

from diffusers import AutoencoderOobleck

RATE = 24_000
STRIDES = (12, 10, 4)
"""Even ones, because odd strides shorten the output."""
HOP = 480
"""Samples to a latent frame: 50 frames a second."""
LATENT = 32
NOISE = 2
"""The last latent channels hold noise alone, N(0, 1): what the decoder makes phases of."""
MULTIPLES = (2, 4, 4)
DECODER_WIDTH = 48


def build_codec() -> AutoencoderOobleck:
    """The codec with random weights: 24 kHz mono to `LATENT` channels at 50 Hz."""
    return AutoencoderOobleck(
        encoder_hidden_size=2 * LATENT,
        downsampling_ratios=list(STRIDES),
        channel_multiples=list(MULTIPLES),
        decoder_channels=DECODER_WIDTH,
        decoder_input_channels=LATENT,
        audio_channels=1,
        sampling_rate=RATE,
    )
