"""The tasks: which of them a checkpoint can do, and the inputs of the model for each."""

from __future__ import annotations

import math

import torch
from diffusers import AceStepPipeline
from torch import Tensor

from contract.tasks import Task
from models.ace_step.conditions import silence
from models.base import Edit
from models.traits import Traits

_ALWAYS: frozenset[Task] = frozenset({"text", "repaint", "extend"})
# The turbo checkpoints were not distilled for these.
_UNDISTILLED: frozenset[Task] = frozenset({"lego", "extract", "complete"})


def tasks_of(pipeline: AceStepPipeline, guided: bool, traits: Traits) -> frozenset[Task]:
    """The tasks that a checkpoint can do.

    Args:
        guided: guidance was not distilled into it.
        traits: they may name the tasks that it was trained for.
    """
    tasks = _ALWAYS | (_UNDISTILLED if guided else frozenset())
    if pipeline.audio_tokenizer and pipeline.audio_token_detokenizer:
        tasks |= {"cover"}
    return tasks if traits.tasks is None else tasks & {"text", *traits.tasks}


def instruction(edit: Edit) -> str:
    """The first line of the prompt, as in the authors' training data."""
    tracks = [track.upper() for track in edit.tracks]
    match edit.task:
        case "repaint" | "extend":
            return "Repaint the mask area based on the given conditions:"
        case "cover":
            return "Generate audio semantic tokens based on the given conditions:"
        case "lego":
            return f"Generate the {tracks[0]} track based on the audio context:"
        case "extract":
            return f"Extract the {tracks[0]} track from the audio:"
        case "complete":
            return f"Complete the input track with {' | '.join(tracks)}:"
        case task:
            raise ValueError(f"there is no instruction for the task {task}")


def windows(edit: Edit, frames: int, latents_per_second: float) -> list[tuple[int, int]]:
    """The first frame of each window and the one behind it. They cover the window, and at least one frame."""
    found = []
    for start, end in edit.windows:
        first = min(max(0, math.floor(round(start * latents_per_second, 6))), frames - 1)
        last = math.ceil(round(end * latents_per_second, 6))
        found.append((first, max(first + 1, min(last, frames))))
    return found


def inside(edit: Edit, latents: Tensor, latents_per_second: float) -> Tensor:
    """Which of the frames of latents `[1, T, C]` are in a window, `[1, T, 1]`."""
    result = torch.zeros(1, latents.shape[1], 1, dtype=torch.bool, device=latents.device)
    for start, end in windows(edit, latents.shape[1], latents_per_second):
        result[:, start:end] = True
    return result


def context(pipeline: AceStepPipeline, edit: Edit, latents: Tensor) -> Tensor:
    """The transformer's input beside the noisy latents, `[1, T, 2C]`: the source, and a mask of the generated frames.

    Args:
        latents: the source's latents `[1, T, C]`; for a cover those of its audio tokens.
    """
    mask = torch.ones_like(latents)
    if edit.task in ("repaint", "extend", "lego"):
        mask = inside(edit, latents, pipeline.latents_per_second).to(latents).expand_as(latents)
    if edit.keeps_outside:
        latents = torch.where(mask > 0, silence(pipeline, latents.shape[1]), latents)
    return torch.cat([latents, mask], dim=-1)
