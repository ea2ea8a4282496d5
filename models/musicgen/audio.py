"""Between audio and codes: `codec` is transformers' `EncodecModel`, which works on one channel at a time."""

from __future__ import annotations

import math
from collections.abc import Generator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers.models.encodec.modeling_encodec import EncodecLSTM

from models import chunked_decoding


@torch.no_grad()
def encode(codec: Any, audio: NDArray[np.float32]) -> torch.Tensor:
    """`[channels, samples]` at the model's rate as codes `[K, T]`; in stereo K goes left, right, left, right."""
    waves = torch.from_numpy(audio).to(codec.device, codec.dtype)[:, None]
    codes = torch.cat([codec.encode(wave[None]).audio_codes[0] for wave in waves])
    interleaved: torch.Tensor = codes.transpose(0, 1).flatten(0, 1)
    return interleaved


@torch.inference_mode()
def decode(codec: Any, codes: torch.Tensor, channels: int) -> Generator[None, None, NDArray[np.float32]]:
    """Codes `[K, T]` as audio `[channels, samples]`, T × the codec's hop long, with a pause after each piece.

    The LSTM goes over the whole, at the rate of frames. From there to samples, which is what takes memory, it goes in
    pieces.
    """
    layers = list(codec.decoder.layers)
    last = max(index for index, layer in enumerate(layers) if isinstance(layer, EncodecLSTM))
    whole, rest = torch.nn.Sequential(*layers[: last + 1]), torch.nn.Sequential(*layers[last + 1 :])
    # What is normalised over time sees all of it.
    sight = _sight(codec.config) if codec.config.norm_type == "weight_norm" else codes.shape[-1]
    hop, waves = math.prod(codec.config.upsampling_ratios), []
    for channel in range(channels):
        values = whole(codec.quantizer.decode(codes[channel::channels, None]))
        waves.append(
            (yield from chunked_decoding.decoded(values, sight, hop, lambda part: rest(part)[0, 0].float().cpu()))
        )
    audio: NDArray[np.float32] = torch.stack(waves).numpy()
    return audio


def _sight(config: Any) -> int:
    """How many frames on either side the layers after the LSTM see of a sample, or more."""
    frames, rate = 0.0, 1
    for ratio in config.upsampling_ratios:
        frames += 1 / rate
        rate *= ratio
        dilations = (config.dilation_growth_rate**number for number in range(config.num_residual_layers))
        frames += sum(dilation * (config.residual_kernel_size - 1) for dilation in dilations) / rate
    return math.ceil(frames + (config.last_kernel_size - 1) / rate)
