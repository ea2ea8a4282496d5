"""The codec: audio to latents and back, in chunks."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence

import numpy as np
import torch
from diffusers import AutoencoderOobleck
from diffusers.models.autoencoders.autoencoder_oobleck import OobleckDiagonalGaussianDistribution
from numpy.typing import NDArray
from torch import Tensor

from models.chunked_decoding import decode_in_chunks, encode_in_chunks
from models.device import placement

# Receptive fields, in samples on either side: of a convolution of width 7, and of a block's three residual units of
# that width with dilations 1, 3 and 9.
_CONVOLUTION = 3
_RESIDUAL_UNITS = 3 * (1 + 3 + 9)
# That of a strided convolution, which is twice as wide as its stride, in its own results.
_STRIDED_CONVOLUTION = 1.5


def encode(
    vae: AutoencoderOobleck, audio: NDArray[np.float32], frames: int, device: torch.device
) -> Generator[None, None, Tensor]:
    """Encode audio `[channels, samples]` to latents `[1, frames, C]`, with a pause after each chunk.

    They are the posterior's mean, so that the same audio always has the same latents. Audio that is too short is padded
    with silence.

    Args:
        device: where the encoder runs; its weights may be elsewhere until then (`models/offloading.py`).
    """
    samples = audio[:, : frames * vae.hop_length]
    padded = np.pad(samples, ((0, 0), (0, frames * vae.hop_length - samples.shape[1])))
    mean, _ = yield from posterior(vae, padded, device)
    return mean


@torch.no_grad()
def posterior(
    vae: AutoencoderOobleck, audio: NDArray[np.float32], device: torch.device
) -> Generator[None, None, tuple[Tensor, Tensor]]:
    """The mean and the standard deviation of the latents `[1, T, C]` of audio `[channels, samples]`, as in `encode`."""
    samples, dtype = torch.from_numpy(np.ascontiguousarray(audio))[None], placement(vae)[1]

    def parameters(part: Tensor) -> Tensor:
        found: Tensor = vae.encode(part.to(device, dtype)).latent_dist.parameters
        return found

    receptive_field = _encoder_receptive_field(vae.config.downsampling_ratios)
    encoded = yield from encode_in_chunks(samples, receptive_field, vae.hop_length, parameters)
    latents = OobleckDiagonalGaussianDistribution(encoded)
    return latents.mean.transpose(1, 2), latents.std.transpose(1, 2)


@torch.inference_mode()
def decode(
    vae: AutoencoderOobleck, latents: Tensor, emit: Callable[[Tensor], None] | None = None
) -> Generator[None, None, Tensor]:
    """Decode latents `[1, T, C]` to audio `[channels, samples]`, with a pause after each chunk.

    Args:
        emit: called with each chunk's audio.
    """
    z = latents.transpose(1, 2)
    if _decodes_whole(vae):
        yield
        audio: Tensor = vae.decode(z).sample[0]
        if emit:
            emit(audio)
        return audio
    receptive_field = _decoder_receptive_field(vae.config.downsampling_ratios)
    first = max(1, vae.config.sampling_rate // vae.hop_length) if emit else None  # the first second is heard early
    return (
        yield from decode_in_chunks(
            z, receptive_field, vae.hop_length, lambda part: vae.decode(part).sample[0], emit, first
        )
    )


def decode_span(vae: AutoencoderOobleck, latents: Tensor, start: int, end: int) -> Generator[None, None, Tensor]:
    """The part of `decode(latents)` from frame `start` to `end`. Latents that do not influence it are not decoded."""
    margin = latents.shape[1] if _decodes_whole(vae) else _decoder_receptive_field(vae.config.downsampling_ratios)
    first = max(0, start - margin)
    audio = yield from decode(vae, latents[:, first : end + margin])
    return audio[:, (start - first) * vae.hop_length : (end - first) * vae.hop_length]


def _decodes_whole(vae: AutoencoderOobleck) -> bool:
    """Whether the strides shorten the end of each decoded chunk, so that latents are decoded as a whole."""
    return any(stride % 2 for stride in vae.config.downsampling_ratios)


def _decoder_receptive_field(strides: Sequence[int]) -> int:
    """The decoder's receptive field in latent frames on either side."""
    frames, rate = float(_CONVOLUTION), 1
    for stride in reversed(strides):
        frames += 1 / rate
        rate *= stride
        frames += _RESIDUAL_UNITS / rate
    return math.ceil(frames + _CONVOLUTION / rate)


def _encoder_receptive_field(strides: Sequence[int]) -> int:
    """The encoder's receptive field in latent frames on either side."""
    frames, rate = 1.0, 1
    for stride in reversed(strides):
        frames += _STRIDED_CONVOLUTION / rate
        rate *= stride
        frames += _RESIDUAL_UNITS / rate
    return math.ceil(frames + _CONVOLUTION / rate)
