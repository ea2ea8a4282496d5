"""Encodes audio to codes and decodes it. `codec` is transformers' `EncodecModel`, which takes one channel at a time."""

from __future__ import annotations

import math
from collections.abc import Generator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers.models.encodec.modeling_encodec import EncodecLSTM

from models.chunked_decoding import decode_in_chunks


@torch.no_grad()
def encode(codec: Any, audio: NDArray[np.float32]) -> torch.Tensor:
    """Encode `[channels, samples]` to codes `[K, T]`. In stereo the codebooks alternate: left, right, left, right."""
    waves = torch.from_numpy(audio).to(codec.device, codec.dtype)[:, None]
    codes = torch.cat([codec.encode(wave[None]).audio_codes[0] for wave in waves])
    interleaved: torch.Tensor = codes.transpose(0, 1).flatten(0, 1)
    return interleaved


@torch.inference_mode()
def decode(codec: Any, codes: torch.Tensor, channels: int) -> Generator[None, None, NDArray[np.float32]]:
    """Decode codes `[K, T]` to audio `[channels, T × hop]`, with a pause after each chunk.

    The layers up to the LSTM run on the whole, at the frame rate. The layers after it, which upsample to the sample
    rate and take most of the memory, run in chunks.
    """
    layers = list(codec.decoder.layers)
    last = max(index for index, layer in enumerate(layers) if isinstance(layer, EncodecLSTM))
    up_to_lstm, after_lstm = torch.nn.Sequential(*layers[: last + 1]), torch.nn.Sequential(*layers[last + 1 :])
    # Normalisation over time depends on all frames.
    receptive_field = _receptive_field(codec.config) if codec.config.norm_type == "weight_norm" else codes.shape[-1]
    hop, waves = math.prod(codec.config.upsampling_ratios), []
    for channel in range(channels):
        values = up_to_lstm(codec.quantizer.decode(codes[channel::channels, None]))
        waves.append(
            (yield from decode_in_chunks(values, receptive_field, hop, lambda x: after_lstm(x)[0, 0].float().cpu()))
        )
    audio: NDArray[np.float32] = torch.stack(waves).numpy()
    return audio


def _receptive_field(config: Any) -> int:
    """An upper bound of the receptive field of the layers after the LSTM, in frames on either side."""
    frames, rate = 0.0, 1
    for ratio in config.upsampling_ratios:
        frames += 1 / rate
        rate *= ratio
        dilations = (config.dilation_growth_rate**number for number in range(config.num_residual_layers))
        frames += sum(dilation * (config.residual_kernel_size - 1) for dilation in dilations) / rate
    return math.ceil(frames + (config.last_kernel_size - 1) / rate)
