"""Between audio and codes: `codec` is transformers' `EncodecModel`, which works on one channel at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray


@torch.no_grad()
def encode(codec: Any, audio: NDArray[np.float32]) -> torch.Tensor:
    """`[channels, samples]` at the model's rate as codes `[K, T]`; in stereo K goes left, right, left, right."""
    waves = torch.from_numpy(audio).to(codec.device, codec.dtype)[:, None]
    codes = torch.cat([codec.encode(wave[None]).audio_codes[0] for wave in waves])
    interleaved: torch.Tensor = codes.transpose(0, 1).flatten(0, 1)
    return interleaved


@torch.no_grad()
def decode(codec: Any, codes: torch.Tensor, channels: int) -> NDArray[np.float32]:
    """Codes `[K, T]` as audio `[channels, samples]`, T × the codec's hop long."""
    # [frames, batch, K, T]: to EnCodec a frame is a chunk of audio, of which MusicGen's makes only one.
    chunks = [codes[None, None, channel::channels] for channel in range(channels)]
    waves = torch.stack([codec.decode(chunk, [None]).audio_values[0, 0] for chunk in chunks])
    audio: NDArray[np.float32] = waves.float().cpu().numpy()
    return audio
