"""ACE-Step as a `Model`."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import ClassVar, Self

import numpy as np
import torch
from diffusers import AceStepPipeline
from numpy.typing import NDArray
from torch import Tensor

from adapters.batched_lora import batch_key, check_adapters
from contract.tasks import Task
from core.errors import Refusal
from models.ace_step import codec, conditions, sampling
from models.ace_step.checkpoint import load
from models.ace_step.layer import UNCOMPILED, LayerFunctions
from models.ace_step.recordings import RecordingEncoder
from models.ace_step.sampling import Batch, Defaults, Run
from models.ace_step.tasks import inside, tasks_of, windows
from models.base import Edit, Interruptible, Latents, Model, Plan, Row, run_to_end
from models.checkpoints import Checkpoint
from models.compilation import compile_function
from models.device import placement
from models.loudness import check_finite, clip, normalising_gain
from models.memory import WHOLE, MemoryMode
from models.traits import DEFAULT_TRAITS, Traits

# diffusers' name → the original model's name, which adapter files use.
_ORIGINAL_NAMES = {".to_q": ".q_proj", ".to_k": ".k_proj", ".to_v": ".v_proj", ".to_out.0": ".o_proj"}
# The cost of a step beyond its tokens, in tokens: kernel launches, reading the weights. The scheduler starts with these
# estimates.
_OVERHEAD = {"cpu": 40.0}
_OVERHEAD_ON_GPU = 2500.0


class AceStep(Model[Run]):
    """A loaded ACE-Step 1.5 checkpoint."""

    backend: ClassVar[str] = "ace_step"

    def __init__(self, pipeline: AceStepPipeline, defaults: Defaults, traits: Traits = DEFAULT_TRAITS) -> None:
        self.pipeline = pipeline
        self.defaults = defaults
        self.traits = traits
        self._functions = UNCOMPILED
        self._recordings = RecordingEncoder(pipeline, traits.reference_gain)
        self.sample_rate: int = pipeline.sample_rate
        self.channels: int = pipeline.vae.config.audio_channels

    @classmethod
    def load(cls, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype, memory: MemoryMode = WHOLE) -> Self:
        pipeline, parts = load(checkpoint, device, dtype, memory)
        return cls(
            pipeline, Defaults.of(bool(pipeline.is_turbo), parts.variant, parts.sampling), Traits.of(checkpoint.folder)
        )

    @property
    def device(self) -> torch.device:
        return placement(self.pipeline.transformer)[0]

    @property
    def dtype(self) -> torch.dtype:
        return placement(self.pipeline.transformer)[1]

    @property
    def adapted(self) -> torch.nn.Module:
        transformer: torch.nn.Module = self.pipeline.transformer
        return transformer

    @property
    def tasks(self) -> frozenset[Task]:
        return tasks_of(self.pipeline, self.defaults.guided, self.traits)

    @property
    def takes_reference(self) -> bool:
        return self.traits.reference is not False

    @property
    def keeps_latents(self) -> bool:
        return True

    @property
    def streams(self) -> bool:
        return True

    def file_name(self, module: str) -> str:
        for diffusers, original in _ORIGINAL_NAMES.items():
            if module.endswith(diffusers):
                return module.removesuffix(diffusers) + original
        return module

    @property
    def overhead(self) -> float:
        return _OVERHEAD.get(self.device.type, _OVERHEAD_ON_GPU)

    def plan(self, row: Row) -> Plan:
        check_adapters(self.adapted, row.adapters)
        if row.edit and row.edit.task not in self.tasks:
            raise Refusal(409, f"task: the checkpoint of {self.backend} cannot {row.edit.task}")
        if row.reference and not self.takes_reference:
            raise Refusal(409, f"reference: the checkpoint of {self.backend} follows none")
        tokens = -(-conditions.frames(self.pipeline, row.seconds) // self.pipeline.transformer.patch_size)
        return Plan(
            steps=len(sampling.times(row, self.defaults)) - 1,
            cost=tokens * sampling.streams(row, self.defaults),
            batch_key=batch_key(row.adapters),
            encoded_seconds=self._recordings.seconds(row),
        )

    def prepare(self, row: Row) -> Interruptible:
        for _ in self._recordings.encode(row):
            if self.device.type != "cpu":  # otherwise the queued work would delay, and mistime, the next batch
                torch.accelerator.synchronize(self.device)
            yield

    def begin(self, row: Row) -> Run:
        encoded = run_to_end(self._recordings.encode(row))
        return Run(self.pipeline, row, self.defaults, self.merged.get(row.adapters), encoded)

    def batch(self, runs: Sequence[Run]) -> Batch:
        return Batch(self.pipeline, runs, self._functions)

    def compile(self) -> None:
        before, between, after = UNCOMPILED
        self._functions = LayerFunctions(compile_function(before), compile_function(between), compile_function(after))

    def finish(self, run: Run, row: Row) -> Generator[None, None, NDArray[np.float32]]:
        if not torch.isfinite(run.latents).all():
            raise FloatingPointError("the model made values that are not finite")
        if row.edit and row.edit.keeps_outside:
            samples = yield from self._edited(run, row.edit, row.seconds)
            latents, gain = self._joined(run, row.edit), run.encoded.gain
        elif row.emit:
            yield from codec.decode(self.pipeline.vae, run.latents, self._emitter(row))
            samples, latents, gain = np.zeros((self.channels, 0), np.float32), run.latents, 1.0
        else:
            # Rows are decoded one at a time: padding to one length would be audible at the end.
            audio = yield from codec.decode(self.pipeline.vae, run.latents)
            samples = audio[:, : round(row.seconds * self.sample_rate)].float().cpu().numpy()
            latents, gain = run.latents, normalising_gain(samples)
            samples = samples * np.float32(gain)
        if row.keep:
            row.keep(Latents(latents[0].float().cpu().numpy(), gain))
        return samples

    def _emitter(self, row: Row) -> Callable[[Tensor], None]:
        """Passes decoded audio to the row's `emit`, up to the row's end."""
        left = round(row.seconds * self.sample_rate)

        def emit(audio: Tensor) -> None:
            nonlocal left
            piece = check_finite(audio[:, :left].float().cpu().numpy())
            left -= piece.shape[1]
            if row.emit and piece.size:
                row.emit(piece)

        return emit

    def _joined(self, run: Run, edit: Edit) -> Tensor:
        """The row's latents in the windows, and the source's where the samples are the source's own."""
        assert run.encoded.source is not None
        is_inside = inside(edit, run.latents, self.pipeline.latents_per_second)
        return torch.where(is_inside, run.latents, run.encoded.source)

    def _edited(self, run: Run, edit: Edit, seconds: float) -> Generator[None, None, NDArray[np.float32]]:
        """The source with the decoded windows in it, at the level of both."""
        vae, rate = self.pipeline.vae, self.sample_rate
        length = round(seconds * rate)
        samples = np.zeros((self.channels, length), np.float32)
        source = edit.source.samples[:, :length]
        samples[:, : source.shape[1]] = source
        spans = windows(edit, run.latents.shape[1], self.pipeline.latents_per_second)
        for (start_seconds, end_seconds), (first, last) in zip(edit.windows, spans, strict=True):
            end = min(length, round(end_seconds * rate))
            start = min(max(0, round(start_seconds * rate)), end)
            audio = yield from codec.decode_span(vae, run.latents, first, last)
            offset = first * vae.hop_length
            made = audio[:, start - offset : end - offset].float().cpu().numpy()
            samples[:, start:end] = made * np.float32(run.encoded.gain)
        return clip(samples)

    def reconstruct(self, audio: NDArray[np.float32]) -> NDArray[np.float32]:
        vae = self.pipeline.vae
        latents = run_to_end(codec.encode(vae, audio, -(-audio.shape[1] // vae.hop_length), self.device))
        decoded: NDArray[np.float32] = run_to_end(codec.decode(vae, latents)).float().cpu().numpy()
        return decoded[:, : audio.shape[1]]

    def response(self, row: Row) -> Generator[None, None, torch.Tensor]:
        """The latents after one step."""
        run = self.begin(row)
        yield from self.batch([run]).step()
        return run.latents
