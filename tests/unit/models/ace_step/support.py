"""Sources, rows of every task, and diffusers' own pipeline to compare them with."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from diffusers import AceStepPipeline
from numpy.typing import NDArray

from adapters.weights import linear_layers
from contract import SamplingOptions
from contract.tasks import Task
from models.ace_step import AceStep
from models.ace_step.sampling import Defaults
from models.base import Edit, Recording, Row, Text, run_to_end
from tests.random_adapters import random_adapter

TURBO = Defaults(8, 3.0, 1.0, guided=False)
GUIDED = Defaults(6, 1.0, 4.0)
EDITS: tuple[Task, ...] = ("repaint", "extend", "cover", "lego", "extract", "complete")
TARGETS = ("to_q", "to_v", "to_out.0", "down_proj")


def recording(seconds: float, seed: int = 0, rate: int = 48_000) -> Recording:
    """Noise in stereo that swells and fades, so that every part differs."""
    rng = np.random.default_rng(seed)
    samples = rng.normal(size=(2, round(seconds * rate))) * 0.2
    samples *= 0.5 + 0.5 * np.sin(np.linspace(0, 9 + seed, samples.shape[1]))
    return Recording(samples.astype(np.float32), f"{seed}-{seconds}")


def edit(task: Task, seconds: float, seed: int = 0, **options: Any) -> Edit:
    """An edit of a new source: of its third quarter for repaint and lego, of its last third for extend."""
    source = recording(seconds, seed)
    start, end = 0.0, seconds
    if task in ("repaint", "lego"):
        start, end = round(seconds / 2, 3), round(seconds * 3 / 4, 3)
    elif task == "extend":
        start = round(seconds * 2 / 3, 3)
        source.samples[:, round(start * 48_000) :] = 0
        source = replace(source, sha256=f"{source.sha256}-padded")
    tracks = {"lego": ("drums",), "extract": ("backing_vocals",), "complete": ("bass", "keyboard")}.get(task, ())
    return Edit(task, source, start, end, **{"tracks": tracks, **options})


def row(task: Task, seconds: float = 2.4, seed: int = 1, reference: bool = False, **options: Any) -> Row:
    plain = Row(Text("dark trap", bpm=140, key="A minor"), seconds, SamplingOptions(seed=seed))
    return replace(
        plain,
        edit=None if task == "text" else edit(task, seconds, seed, **options),
        reference=recording(12.0, seed + 100) if reference else None,
    )


def mixed_rows(model: AceStep) -> list[Row]:
    """Eight rows of all tasks, with twins, lengths, guidance and steps of their own."""
    one = random_adapter(model, 4, 1, TARGETS)
    two = random_adapter(model, 8, 2, ("to_k", "gate_proj", "linear_1", "condition_embedder"))
    rows = [row(task, 1.2 + 0.4 * number, number, number % 3 == 0) for number, task in enumerate(("text", *EDITS))]
    rows.append(row("cover", 2.0, 9, strength=0.5, noise_strength=0.3))
    adapters: list[Any] = [[], [(one, 1.0)], [(two, 1.0)], [(one, 0.5), (two, -0.7)]]
    steps = [None, 3, 5, None]
    return [
        replace(
            each,
            adapters=adapters[number % 4],
            options=SamplingOptions(seed=number, steps=steps[number % 4], guidance=(None, 1.0, 2.5)[number % 3]),
        )
        for number, each in enumerate(rows)
    ]


def latents(model: AceStep, rows: list[Row]) -> list[torch.Tensor]:
    """The latents of rows that take their steps together."""
    runs = [model.begin(each) for each in rows]
    model._run(runs)
    return [run.latents for run in runs]


def difference(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """The largest difference, relative to the standard deviation."""
    return float((ours - theirs).abs().max() / theirs.std())


def as_kind(model: AceStep, defaults: Defaults) -> AceStep:
    """The same weights as a checkpoint of another kind."""
    pipeline = copy.copy(model.pipeline)
    pipeline.is_turbo = not defaults.guided
    return AceStep(pipeline, defaults)


def stock(pipeline: AceStepPipeline, each: Row, defaults: Defaults) -> torch.Tensor:
    """The latents of a row by diffusers alone, with its adapters merged into the weights."""
    pipeline = copy.copy(pipeline)
    transformer = copy.deepcopy(pipeline.transformer)
    layers = linear_layers(transformer)
    for weights, strength in each.adapters:
        for name, pair in weights.pairs.items():
            layers[name].weight.data += strength * (pair.a @ pair.b).T
    pipeline.transformer = transformer
    pipeline.is_turbo = not defaults.guided
    pipeline.set_progress_bar_config(disable=True)
    of_task: dict[str, Any] = {}
    if each.edit:
        task = "repaint" if each.edit.task == "extend" else each.edit.task
        of_task = {
            "task_type": task,
            "src_audio": torch.from_numpy(each.edit.source.samples),
            "repainting_start": each.edit.start,
            "repainting_end": each.edit.end,
            "track_name": each.edit.tracks[0] if each.edit.tracks else None,
            "complete_track_classes": list(each.edit.tracks),
        }
    result: torch.Tensor = pipeline(
        prompt=each.text.prompt,
        lyrics=each.text.lyrics or "[Instrumental]",
        vocal_language=each.text.vocal_language or "en",
        audio_duration=each.seconds,
        num_inference_steps=each.options.steps or defaults.steps,
        guidance_scale=(each.options.guidance or defaults.guidance) if defaults.guided else 1.0,
        shift=defaults.shift,
        generator=torch.Generator().manual_seed(each.options.seed),
        bpm=each.text.bpm,
        keyscale=each.text.key,
        reference_audio=torch.from_numpy(each.reference.samples) if each.reference else None,
        output_type="latent",
        **of_task,
    ).audios
    return result


def audio(model: AceStep, each: Row) -> NDArray[np.float32]:
    run = model.begin(each)
    model._run([run])
    return run_to_end(model.finish(run, each))
