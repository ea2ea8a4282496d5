"""MusicGen as a `Model`: load, generate, and what training needs to know."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import MusicgenForConditionalGeneration, PreTrainedTokenizerBase

from adapters.lora_rows import batch_key, blend, changed, check
from models.base import Model, Plan, Row, Text
from models.checkpoints import Checkpoint
from models.compiled import compiled
from models.loudness import normalise
from models.musicgen import audio
from models.musicgen.checkpoint import load
from models.musicgen.layer import forward
from models.musicgen.sampling import Sampling
from models.musicgen.text import encode
from models.musicgen.tokens import Batch, Line, Run, Windows

# What a step costs beyond its rows, in rows: above all, reading the weights. The scheduler begins with these estimates.
_OVERHEAD = {"cpu": 15.0}
_OVERHEAD_ELSEWHERE = 200.0
# Below this the likeliest code is as good as certain, and what is divided by it overflows.
_COLDEST = 0.01


class MusicGen(Model[Run]):
    """A loaded MusicGen checkpoint, mono or stereo.

    Attributes:
        model: transformers' model: `text_encoder`, `decoder` and `audio_encoder`.
        sampling: how codes are chosen, as the checkpoint says.
    """

    backend: ClassVar[str] = "musicgen"

    def __init__(self, model: MusicgenForConditionalGeneration, tokenizer: PreTrainedTokenizerBase) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self._step_layer: Callable[..., torch.Tensor] = forward
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

    @property
    def overhead(self) -> float:
        return _OVERHEAD.get(self.device.type, _OVERHEAD_ELSEWHERE)

    def plan(self, row: Row) -> Plan:
        check(self.adapted, row.adapters)
        return Plan(steps=Windows.of(self.model).steps(self._frames(row)), cost=1.0, batch_key=batch_key(row.adapters))

    def line(self, row: Row) -> Line:
        options = row.options
        temperature = self.sampling.temperature if options.temperature is None else options.temperature
        return Line(
            text=self.encode_text(row.text),
            frames=self._frames(row),
            seed=options.seed,
            guidance=self.sampling.guidance if options.guidance is None else options.guidance,
            temperature=temperature if temperature >= _COLDEST else 0.0,
            top_k=self.sampling.top_k,
            pairs=blend(row.adapters),
            weights=changed(self.adapted, row.adapters),
        )

    def begin(self, row: Row) -> Run:
        return Run(self.model, self.line(row))

    def batch(self, runs: Sequence[Run]) -> Batch:
        return Batch(self.model, runs, self._step_layer)

    def compile(self) -> None:
        self._step_layer = compiled(forward)

    @torch.inference_mode()
    def finish(self, run: Run, row: Row) -> Generator[None, None, NDArray[np.float32]]:
        if run.broken:
            raise FloatingPointError("the model's logits are not finite")
        wave = yield from audio.decode(self.codec, run.codes, self.channels)
        return normalise(wave[:, : round(row.seconds * self.sample_rate)])

    def response(self, row: Row) -> Generator[None, None, torch.Tensor]:
        """The logits of the first codes, before anything is drawn."""
        batch = self.batch([self.begin(row)])
        yield from batch.step()
        return batch.logits

    def _frames(self, row: Row) -> int:
        return math.ceil(row.seconds * self.frame_rate)
