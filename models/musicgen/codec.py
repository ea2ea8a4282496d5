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

# Frames of a piece of a track that is decoded while it is written: a second at 50 Hz.
PIECE_FRAMES = 50


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
    before_lstm, lstm, after_lstm = _stages(codec)
    receptive_field = _receptive_field(codec.config, codes.shape[-1])
    hop, waves = math.prod(codec.config.upsampling_ratios), []
    for channel in range(channels):
        values = lstm(before_lstm(codec.quantizer.decode(codes[channel::channels, None])))
        waves.append(
            (yield from decode_in_chunks(values, receptive_field, hop, lambda x: after_lstm(x)[0, 0].float().cpu()))
        )
    audio: NDArray[np.float32] = torch.stack(waves).numpy()
    return audio


class PieceDecoder:
    """Decodes a track's codes in pieces of `PIECE_FRAMES`, while they are written, to what they are as a whole.

    The pieces depend on the codes alone, not on when they were written. A sample depends on some frames after it, so
    that a piece has to wait for these.

    Args:
        codec: transformers' `EncodecModel`.
        channels: of the audio.
        frames: of the whole track.
    """

    def __init__(self, codec: Any, channels: int, frames: int) -> None:
        self._codec, self._channels, self._frames = codec, channels, frames
        self._before_lstm, self._lstm, self._after_lstm = _stages(codec)
        self._margin = _receptive_field(codec.config, frames)
        self._lstm_margin = frames if self._margin >= frames else codec.config.kernel_size - 1
        self._hop = math.prod(codec.config.upsampling_ratios)
        self._decoded = 0
        self._states: list[Any] = [None] * channels
        self._values: list[torch.Tensor] = []  # of each channel, the LSTM's results so far

    @property
    def needed_frames(self) -> int | None:
        """The number of the track's first frames that the next piece depends on; None after the last piece."""
        if self._decoded == self._frames:
            return None
        return min(self._frames, self._decoded + PIECE_FRAMES + self._margin + self._lstm_margin)

    @property
    def samples_decoded(self) -> int:
        """The number of samples in the pieces so far."""
        return self._decoded * self._hop

    @torch.inference_mode()
    def decode(self, codes: torch.Tensor) -> NDArray[np.float32]:
        """The next piece, `[channels, samples]`, of the codes so far, `[K, T]`: at least `needed_frames` of them."""
        end = min(self._frames, self._decoded + PIECE_FRAMES)
        first, last = max(0, self._decoded - self._margin), min(self._frames, end + self._margin)
        advanced = [self._advanced(channel, codes, last) for channel in range(self._channels)]
        waves = [self._after_lstm(values[..., first:last])[0, 0].float().cpu() for values, _ in advanced]
        self._values, self._states = [values for values, _ in advanced], [state for _, state in advanced]
        start, self._decoded = self._decoded, end
        audio: NDArray[np.float32] = torch.stack(waves).numpy()
        return audio[:, (start - first) * self._hop : (end - first) * self._hop]

    def _advanced(self, channel: int, codes: torch.Tensor, last: int) -> tuple[torch.Tensor, Any]:
        """The LSTM's results up to frame `last`, and its state there."""
        known = self._values[channel] if self._values else None
        start = 0 if known is None else known.shape[-1]
        if known is not None and start == last:
            return known, self._states[channel]
        first = max(0, start - self._lstm_margin)
        read = codes[channel :: self._channels, None, first : min(self._frames, last + self._lstm_margin)]
        values = self._before_lstm(self._codec.quantizer.decode(read))[..., start - first : last - first]
        steps = values.permute(2, 0, 1)
        made, state = self._lstm.lstm(steps, self._states[channel])
        new = (made + steps).permute(1, 2, 0)
        return (new if known is None else torch.cat([known, new], dim=-1)), state


def _stages(codec: Any) -> tuple[torch.nn.Module, EncodecLSTM, torch.nn.Module]:
    """The decoder's layers before its LSTM, the LSTM, and the layers after it."""
    layers = list(codec.decoder.layers)
    at = max(index for index, layer in enumerate(layers) if isinstance(layer, EncodecLSTM))
    return torch.nn.Sequential(*layers[:at]), layers[at], torch.nn.Sequential(*layers[at + 1 :])


def _receptive_field(config: Any, length: int) -> int:
    """An upper bound of the receptive field of the layers after the LSTM, in frames on either side of `length` ones."""
    if config.norm_type != "weight_norm":
        return length  # normalisation over time depends on all frames
    frames, rate = 0.0, 1
    for ratio in config.upsampling_ratios:
        frames += 1 / rate
        rate *= ratio
        dilations = (config.dilation_growth_rate**number for number in range(config.num_residual_layers))
        frames += sum(dilation * (config.residual_kernel_size - 1) for dilation in dilations) / rate
    return math.ceil(frames + (config.last_kernel_size - 1) / rate)
