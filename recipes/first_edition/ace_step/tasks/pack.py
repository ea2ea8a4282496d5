"""Assemble the starter and its audio tokens as an `AceStepPipeline`, and take one apart again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import AceStepPipeline, AutoencoderOobleck, FlowMatchEulerDiscreteScheduler

from models.checkpoints import TRAITS_FILE

from ...training import forget_paths, load_average
from ..model import SAMPLING, TRAITS, take_apart
from .audio_tokens import DETOKENIZER, TOKENIZER, OutlineReader
from .model import TaskStarter
from .training import STATE

TASK_TRAITS = {
    **TRAITS,
    "tasks": ["text", "repaint", "extend", "cover", "complete", "lego", "extract"],
    "reference": True,
}


def pack(runs: Path, target: Path) -> None:
    """Write the averaged weights of `runs` to `target` in bfloat16, with the unpacked codec."""
    write(runs, TaskStarter(), AutoencoderOobleck.from_pretrained(runs / "codec-unit"), TASK_TRAITS, target)


def write(runs: Path, starter: TaskStarter, codec: AutoencoderOobleck, traits: dict[str, Any], target: Path) -> None:
    """Write a pipeline in bfloat16 with the averaged weights and the audio tokens of `runs`, and what twins need."""
    outline = OutlineReader(runs)
    load_average(starter, runs / STATE)
    pipeline = AceStepPipeline(
        vae=codec,
        text_encoder=starter.text_encoder,
        tokenizer=starter.tokenizer,
        transformer=starter.transformer,
        condition_encoder=starter.condition_encoder,
        scheduler=FlowMatchEulerDiscreteScheduler(num_train_timesteps=1, shift=1.0),
        audio_tokenizer=outline.tokenizer,
        audio_token_detokenizer=outline.detokenizer,
    )
    pipeline.to(torch.bfloat16).save_pretrained(target)
    forget_paths(target)
    (target / "sampling.json").write_text(json.dumps(SAMPLING, indent=2) + "\n")
    (target / TRAITS_FILE).write_text(json.dumps(traits, indent=2) + "\n")


def unpack(source: Path, runs: Path) -> None:
    """Turn a packed checkpoint into an empty `runs` again, from which the tasks are trained on with a new warm-up."""
    pipeline = AceStepPipeline.from_pretrained(source, torch_dtype=torch.float32)
    take_apart(pipeline, TaskStarter(), runs / STATE)
    for name in (TOKENIZER, DETOKENIZER):
        getattr(pipeline, name).save_pretrained(runs / name)
