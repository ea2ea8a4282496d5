"""MusicGen as a `Model`."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import MusicgenForConditionalGeneration, PreTrainedTokenizerBase

from adapters.batched_lora import batch_key, blend, check_adapters
from contract.tasks import Task
from models.base import Interruptible, Model, Plan, Row, Text, run_to_end
from models.checkpoints import Checkpoint
from models.compilation import compile_function
from models.loudness import check_finite, normalise
from models.memory import WHOLE, MemoryMode
from models.musicgen import codec
from models.musicgen.checkpoint import load
from models.musicgen.continuation import Continuation
from models.musicgen.decoder import RowState, begin_row
from models.musicgen.layer import forward
from models.musicgen.melody import Melody
from models.musicgen.sampling import Sampling
from models.musicgen.text import encode
from models.musicgen.tokens import Batch, Run, TokenRow, Windows
from models.traits import DEFAULT_TRAITS, Traits

# The cost of a step beyond its rows, in rows: mostly reading the weights. The scheduler starts with these estimates.
_OVERHEAD = {"cpu": 15.0}
_OVERHEAD_ON_GPU = 200.0
_TASKS: frozenset[Task] = frozenset({"text", "extend"})
# Lower temperatures are taken as 0: the likeliest code is practically certain, and logits divided by them overflow.
_MIN_TEMPERATURE = 0.01


class MusicGen(Model[Run]):
    """A loaded MusicGen checkpoint, mono or stereo.

    Attributes:
        model: transformers' model: `text_encoder`, `decoder` and `audio_encoder`.
        tokenizer: the text encoder's.
        melody: the conditioner of a melody checkpoint; None for others.
        sampling: the checkpoint's sampling options.
    """

    backend: ClassVar[str] = "musicgen"

    def __init__(
        self,
        model: MusicgenForConditionalGeneration,
        tokenizer: PreTrainedTokenizerBase,
        traits: Traits = DEFAULT_TRAITS,
        melody: Melody | None = None,
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.melody = melody
        self.traits = traits
        self._step_layer: Callable[..., torch.Tensor] = forward
        self.sampling = Sampling.of(model.generation_config)
        self.codec: Any = model.audio_encoder
        self.sample_rate: int = self.codec.config.sampling_rate
        self.frame_rate: int = self.codec.config.frame_rate
        self.channels: int = model.decoder.config.audio_channels

    @classmethod
    def load(cls, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype, memory: MemoryMode = WHOLE) -> Self:
        model, tokenizer, melody = load(checkpoint, device, dtype, memory)
        return cls(model, tokenizer, Traits.of(checkpoint.folder), melody)

    @property
    def tasks(self) -> frozenset[Task]:
        tasks: frozenset[Task] = _TASKS | {"melody"} if self.melody else _TASKS
        return tasks if self.traits.tasks is None else tasks & {"text", *self.traits.tasks}

    @property
    def streams(self) -> bool:
        return True

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
        """The layer's name in `MusicgenForConditionalGeneration`, so that PEFT loads files onto the whole model.

        A file's keys begin like this: `base_model.model.decoder.model.decoder.layers.0.self_attn.q_proj.lora_A`.
        """
        return f"decoder.{module}"

    def encode_text(self, text: Text) -> torch.Tensor:
        """Encode a text to `[L, hidden]` for the decoder."""
        return encode(self.model, self.tokenizer, text)

    @property
    def overhead(self) -> float:
        return _OVERHEAD.get(self.device.type, _OVERHEAD_ON_GPU)

    def plan(self, row: Row) -> Plan:
        check_adapters(self.adapted, row.adapters)
        continuation = self._continuation(row)
        steps = Windows.of(self.model).steps(self._frames(row), prompt=continuation.prompt if continuation else 0)
        return Plan(steps=steps, cost=1.0, batch_key=batch_key(row.adapters))

    def token_row(self, row: Row) -> TokenRow:
        """The row with its text encoded, its adapters blended, and the checkpoint's options where it sets none."""
        options = row.options
        continuation = self._continuation(row)
        temperature = self.sampling.temperature if options.temperature is None else options.temperature
        text = self.encode_text(row.text)
        return TokenRow(
            text=text,
            frames=self._frames(row),
            seed=options.seed,
            guidance=self.sampling.guidance if options.guidance is None else options.guidance,
            temperature=temperature if temperature >= _MIN_TEMPERATURE else 0.0,
            top_k=self.sampling.top_k,
            pairs=blend(row.adapters),
            weights=self.merged.get(row.adapters),
            prompt=continuation.codes(self.codec) if continuation else None,
            prefixes=self._prefixes(row, text),
        )

    def begin(self, row: Row) -> Run:
        token_row, state = row.condition(lambda: self._condition(row))
        run = Run(self.model, replace(token_row, seed=row.options.seed), replace(state))
        if row.emit:
            if token_row.prompt is not None:
                raise ValueError("a recording that is continued is not decoded in pieces")
            run.pieces = codec.PieceDecoder(self.codec, self.channels, self._frames(row))
        return run

    def batch(self, runs: Sequence[Run]) -> Batch:
        return Batch(self.model, runs, self._step_layer)

    def compile(self) -> None:
        self._step_layer = compile_function(forward)

    def next_piece(self, run: Run, row: Row) -> Interruptible | None:
        needed = run.pieces.needed_frames if run.pieces and run.steps_left else None
        return None if needed is None or run.frames_written < needed else self._emit_piece(run, row)

    @torch.inference_mode()
    def finish(self, run: Run, row: Row) -> Generator[None, None, NDArray[np.float32]]:
        if run.broken:
            raise FloatingPointError("the model's logits are not finite")
        if run.pieces:
            while run.pieces.needed_frames is not None:
                yield from self._emit_piece(run, row)
                yield
            return np.zeros((self.channels, 0), np.float32)
        wave = yield from codec.decode(self.codec, run.codes, self.channels)
        if continuation := self._continuation(row):
            return continuation.joined(wave)
        return normalise(wave[:, : round(row.seconds * self.sample_rate)])

    def reconstruct(self, audio: NDArray[np.float32]) -> NDArray[np.float32]:
        codes = codec.encode(self.codec, np.ascontiguousarray(audio))
        return run_to_end(codec.decode(self.codec, codes, self.channels))[:, : audio.shape[1]]

    def response(self, row: Row) -> Generator[None, None, torch.Tensor]:
        """The logits of the first codes, which do not depend on anything random."""
        batch = self.batch([self.begin(row)])
        yield from batch.step()
        return batch.logits

    @torch.inference_mode()
    def _emit_piece(self, run: Run, row: Row) -> Interruptible:
        assert run.pieces and row.emit
        left = round(row.seconds * self.sample_rate) - run.pieces.samples_decoded
        piece = check_finite(run.pieces.decode(run.written())[:, :left])
        if piece.size:
            row.emit(piece)
        yield from ()

    @torch.inference_mode()
    def _condition(self, row: Row) -> tuple[TokenRow, RowState]:
        """The row with its text encoded and its adapters blended, and the decoder's state before the first code."""
        token_row = self.token_row(row)
        return token_row, begin_row(self.model.decoder, token_row.text, token_row.pairs, token_row.weights)

    def _continuation(self, row: Row) -> Continuation | None:
        return Continuation.of(row, Windows.of(self.model), self.sample_rate, self.sample_rate // self.frame_rate)

    def _prefixes(self, row: Row, text: torch.Tensor) -> list[torch.Tensor]:
        if self.melody is None:
            return []
        recording = row.edit.source.samples if row.edit and row.edit.task == "melody" else None
        hop = self.sample_rate // self.frame_rate
        starts = [frame * hop for frame in Windows.of(self.model).starts(self._frames(row))]
        return self.melody.prefixes(text, recording, starts)

    def _frames(self, row: Row) -> int:
        if continuation := self._continuation(row):
            return continuation.frames
        return math.ceil(row.seconds * self.frame_rate)
