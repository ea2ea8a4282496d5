"""MusicGen as a `Model`: load, generate, and what training needs to know."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import torch
from transformers import MusicgenForConditionalGeneration, PreTrainedTokenizerBase

from models.base import Row, Text, Track
from models.checkpoints import Checkpoint
from models.lora_rows import check
from models.loudness import normalise
from models.musicgen import audio, tokens
from models.musicgen.checkpoint import load
from models.musicgen.sampling import Sampling
from models.musicgen.text import encode


class MusicGen:
    """A loaded MusicGen checkpoint, mono or stereo.

    Attributes:
        model: transformers' model: `text_encoder`, `decoder` and `audio_encoder`.
        sampling: how codes are chosen, as the checkpoint says.
    """

    backend: ClassVar[str] = "musicgen"

    def __init__(self, model: MusicgenForConditionalGeneration, tokenizer: PreTrainedTokenizerBase) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.sampling = Sampling.of(model.generation_config)
        self.codec: Any = model.audio_encoder
        self.sample_rate: int = self.codec.config.sampling_rate
        self.frame_rate: int = self.codec.config.frame_rate
        self.channels: int = model.decoder.config.audio_channels

    @classmethod
    def load(cls, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype) -> Self:
        return cls(*load(checkpoint, device, dtype))

    @property
    def device(self) -> torch.device:
        device: torch.device = self.model.decoder.device
        return device

    @property
    def dtype(self) -> torch.dtype:
        dtype: torch.dtype = self.model.decoder.dtype
        return dtype

    @property
    def adapted(self) -> torch.nn.Module:
        decoder: torch.nn.Module = self.model.decoder
        return decoder

    def file_name(self, module: str) -> str:
        """The name that PEFT gives to the layer within the whole `MusicgenForConditionalGeneration`.

        So a file's keys begin with `base_model.model.decoder.model.decoder.layers.0.self_attn.q_proj`, and PEFT loads
        it onto the model as users have it.
        """
        return f"decoder.{module}"

    def encode_text(self, text: Text) -> torch.Tensor:
        """`[L, hidden]`, what the decoder reads of a text."""
        return encode(self.model, self.tokenizer, text)

    def generate(self, rows: Sequence[Row]) -> list[Track]:
        tracks: dict[int, Track] = {}
        lines: dict[int, tokens.Line] = {}
        for index, row in enumerate(rows):
            try:
                lines[index] = self._line(row)
            except Exception as error:  # noqa: BLE001 - one row's failure is its own answer
                tracks[index] = error
        written = tokens.write(self.model, list(lines.values()), self.sampling)
        for index, codes in zip(lines, written, strict=True):
            tracks[index] = self._track(codes, rows[index].seconds)
        return [tracks[index] for index in range(len(rows))]

    def _line(self, row: Row) -> tokens.Line:
        check(self.adapted, row.adapters)
        return tokens.Line(
            text=self.encode_text(row.text),
            frames=math.ceil(row.seconds * self.frame_rate),
            seed=row.seed,
            guidance=self.sampling.guidance if row.guidance is None else row.guidance,
            adapters=row.adapters,
        )

    def _track(self, codes: torch.Tensor | Exception, seconds: float) -> Track:
        if isinstance(codes, Exception):
            return codes
        try:
            wave = audio.decode(self.codec, codes, self.channels)
            return normalise(wave[:, : round(seconds * self.sample_rate)])
        except Exception as error:  # noqa: BLE001 - one row's failure is its own answer
            return error
