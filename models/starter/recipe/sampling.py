"""Music from a checkpoint folder, through the stock pipeline with the starter's default settings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AceStepPipeline


@dataclass(frozen=True)
class Sampling:
    """Euler steps, guidance and shift of the schedule."""

    steps: int = 16
    guidance: float = 3.0
    shift: float = 2.0


DEFAULTS = Sampling()


def load(folder: Path, device: str = "cpu") -> AceStepPipeline:
    """The pipeline in single precision, which CPUs without bfloat16 units need."""
    pipeline = AceStepPipeline.from_pretrained(folder, torch_dtype=torch.float32).to(device)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@torch.no_grad()
def generate(
    pipeline: AceStepPipeline, prompt: str, seconds: float, seed: int, sampling: Sampling = DEFAULTS, **fields: Any
) -> np.ndarray:
    """Mono audio `[samples]` at the pipeline's rate; `fields` are bpm, keyscale and timesignature."""
    audio = pipeline(
        prompt=prompt,
        lyrics="[Instrumental]",
        audio_duration=seconds,
        num_inference_steps=sampling.steps,
        guidance_scale=sampling.guidance,
        shift=sampling.shift,
        generator=torch.Generator().manual_seed(seed),
        **fields,
    ).audios[0]
    return np.asarray(audio.float().cpu()).mean(0)
