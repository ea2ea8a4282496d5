"""The checkpoints under verification, and the models that several checks share."""

from __future__ import annotations

import gc
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AceStepPipeline
from diffusers.models.transformers.ace_step_transformer import AceStepTransformer1DModel
from diffusers.pipelines.ace_step import AceStepConditionEncoder

from models.ace_step import AceStep
from models.ace_step.layout import locate
from models.checkpoints import Checkpoint
from models.device import free_cached_memory
from models.memory import weight_bytes
from models.musicgen import MusicGen

# A checkpoint with fewer bytes of weights says nothing about time or memory.
_TINY_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Lengths:
    """How much is measured.

    Attributes:
        steps: durations in seconds at which a step is timed.
        row: seconds of a row in a batch.
        decoded: seconds that the codec decodes.
        track: seconds of the longest track.
        clip: seconds of a training example.
        training: training steps.
        tokens: frames that MusicGen writes.
    """

    steps: tuple[float, ...]
    row: float
    decoded: float
    track: float
    clip: float
    training: int
    batch: int
    tokens: int


FULL = Lengths(steps=(10, 60, 240), row=10, decoded=60, track=600, clip=15, training=30, batch=4, tokens=250)
SHORT = Lengths(steps=(10,), row=3, decoded=3, track=6, clip=3, training=6, batch=1, tokens=20)


class Subject:
    """The checkpoints on their device.

    Attributes:
        checkpoint: of ACE-Step or MusicGen.
        work: a folder for files, which is removed afterwards.
        lengths: the long ones on a GPU.
    """

    def __init__(self, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype, work: Path) -> None:
        self.checkpoint, self.device, self.dtype, self.work = checkpoint, device, dtype, work
        self.tiny = checkpoint.weight_bytes < _TINY_BYTES
        self.lengths = FULL if device.type == "cuda" else SHORT
        self._models: dict[str, Any] = {}
        self._shared: dict[str, Any] = {}

    @property
    def ace_step(self) -> AceStep:
        if "ace_step" not in self._models:
            self._models["ace_step"] = AceStep.load(self.checkpoint, self.device, self.dtype)
        model: AceStep = self._models["ace_step"]
        return model

    @property
    def musicgen(self) -> MusicGen:
        """In float32: random weights give nearly equal logits, whose order half precision changes."""
        if "musicgen" not in self._models:
            self._models["musicgen"] = MusicGen.load(self.checkpoint, self.device, torch.float32)
        model: MusicGen = self._models["musicgen"]
        return model

    @property
    def stock(self) -> AceStepPipeline:
        """diffusers' own pipeline of the same weights; the text encoder and the codec are shared."""
        if "stock" not in self._shared:
            ours, parts = self.ace_step.pipeline, locate(self.checkpoint)
            transformer, encoder = (
                kind.from_pretrained(str(folder), dtype=self.dtype).to(self.device).eval().requires_grad_(False)
                for kind, folder in (
                    (AceStepTransformer1DModel, parts.transformer),
                    (AceStepConditionEncoder, parts.condition_encoder),
                )
            )
            shared = {name: getattr(ours, name) for name in ("vae", "text_encoder", "tokenizer", "scheduler")}
            pipeline = AceStepPipeline(transformer=transformer, condition_encoder=encoder, **shared)
            pipeline.is_turbo = ours.is_turbo
            pipeline.set_progress_bar_config(disable=True)
            self._shared["stock"] = pipeline
        return self._shared["stock"]

    @property
    def checkpoint_bytes(self) -> int:
        """The weights that the model keeps in memory."""
        pipeline = self.ace_step.pipeline
        return weight_bytes([pipeline.transformer, pipeline.condition_encoder, pipeline.vae, pipeline.text_encoder])

    def reload(self) -> None:
        """Free the models, so that the next check that needs one loads it anew."""
        self.forget()
        self._models.clear()
        gc.collect()
        free_cached_memory()

    def forget(self) -> None:
        """Free what only one group of checks needs."""
        self._shared.clear()
