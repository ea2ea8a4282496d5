"""Assemble the starter and its audio tokens as an `AceStepPipeline`, and take one apart again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import AceStepPipeline, AutoencoderOobleck

from ...training import load_average
from ..model import TRAITS, last_codec, take_apart, write_pipeline
from .audio_tokens import DETOKENIZER, TOKENIZER, OutlineReader
from .model import TaskStarter
from .training import STATE

TASK_TRAITS = {
    **TRAITS,
    "tasks": ["text", "repaint", "extend", "cover", "complete", "lego", "extract"],
    "reference": True,
}
REFERENCE_GAIN = 2.0
"""How far the service takes a reference's timbre from that of silence: more tracks resemble their reference than at 1,
and at 3 no more."""


def pack(runs: Path, target: Path) -> None:
    """Write the averaged weights of `runs` to `target` in bfloat16, with the decoder that was trained last."""
    traits = {**TASK_TRAITS, "reference_gain": REFERENCE_GAIN}
    write(runs, TaskStarter(), last_codec(runs), traits, target)


def write(runs: Path, starter: TaskStarter, codec: AutoencoderOobleck, traits: dict[str, Any], target: Path) -> None:
    """Write the averaged weights and the audio tokens of `runs` as a pipeline."""
    outline = OutlineReader(runs)
    load_average(starter, runs / STATE)
    tokens = {TOKENIZER: outline.tokenizer, DETOKENIZER: outline.detokenizer}
    write_pipeline(starter, codec, traits, target, **tokens)


def unpack(source: Path, runs: Path) -> None:
    """Turn a packed checkpoint into an empty `runs` again, from which the tasks are trained on with a new warm-up."""
    pipeline = AceStepPipeline.from_pretrained(source, torch_dtype=torch.float32)
    take_apart(pipeline, TaskStarter(), runs / STATE)
    for name in (TOKENIZER, DETOKENIZER):
        getattr(pipeline, name).save_pretrained(runs / name)
