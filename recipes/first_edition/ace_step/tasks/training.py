"""Train all tasks together, from the finished starter, with text-to-music as the largest share."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from contract.tasks import Task

from ...clips import LOOP_SECONDS, VALIDATION_CLIPS, Clip, Library
from ...data import TRAINING
from ...precision import autocast
from ...training import Training, start_over
from ..model import PROMPT_DROPOUT, channel_weights, draw_lyrics, draw_noisy_times, draw_times, validation
from ..prompts import format_prompt
from .audio_tokens import OutlineReader
from .examples import SHARES, Example, can_do, draw_batch, example
from .model import TaskStarter, load_weights
from .pieces import Piece, load_piece

RHYTHM_SHARE = 0.25
"""Share of steps on rhythm alone; fewer than the starter's own, as such a step teaches no harmony."""
REFRESH_EVERY = 100
REPORT_EVERY = 50
VALIDATE_EVERY = 1000
STATE = "tasks.pt"
_RESULTS = "tasks.jsonl"


Draw = Callable[[Library[Piece], np.random.Generator, bool], list[Example]]
"""A batch of one length from the library; without covers if not the last argument."""


def train_tasks(
    runs: Path,
    steps: int,
    device: str,
    rate: float,
    compile_it: bool,
    starter: TaskStarter | None = None,
    draw: Draw | None = None,
    report: Callable[[TaskStarter], dict[str, Any]] = lambda starter: {},
) -> None:
    """Train to `steps` steps in total, from the weights in `runs/model.pt`; resumes from `runs/tasks.pt`.

    New pieces are used as they are written, and covers are trained as soon as there are audio tokens. SIGTERM saves
    the state and ends the training.

    Args:
        starter: default: that of the first edition.
        draw: default: examples of pieces alone.
        report: further figures for each validation.
    """
    torch.manual_seed(0)
    starter, outline = starter or TaskStarter(), OutlineReader.find(runs)
    begin(runs, starter)
    training = Training(starter.to(device).train(), runs / STATE, rate, steps)
    if compile_it:
        for layer in starter.transformer.layers:
            layer.compile()
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    library = Library(runs / "pieces", load_piece)
    losses: dict[str, float] = {}
    started, first = time.monotonic(), training.first
    for step in range(training.first, steps):
        rng = np.random.default_rng([TRAINING, 9, step])
        torch.manual_seed(step)
        rhythm = bool(rng.random() < RHYTHM_SHARE)
        covers = outline is not None
        examples = draw(library, rng, covers) if draw else draw_batch(library, rng, starter.shape, covers)
        times, lyrics = draw_task_times(examples, rhythm), draw_lyrics(rng)
        loss = batch_loss(starter, outline, examples, times, lyrics, rhythm)
        training.step(step, loss.mean())

        if not rhythm:
            _note(losses, examples, loss)
        if step % REPORT_EVERY == REPORT_EVERY - 1:
            took = (time.monotonic() - started) / (step + 1 - first)
            line = {"step": step + 1, "seconds": round(took, 2), "pieces": len(library.clips)}
            print(json.dumps({**line, **{name: round(value, 3) for name, value in losses.items()}}), flush=True)
        if step % REFRESH_EVERY == REFRESH_EVERY - 1:
            library.refresh()
            outline = outline or OutlineReader.find(runs)
        if step % VALIDATE_EVERY == VALIDATE_EVERY - 1 or step + 1 == steps:
            with training:
                found = {"step": step + 1, **validate(starter, outline, library), **report(starter)}
            print(json.dumps(found), flush=True)
            with (runs / _RESULTS).open("a") as results:
                results.write(json.dumps(found) + "\n")
        if stopped.is_set():
            training.save(step)
            print(f"stopped after step {step + 1}", flush=True)
            return


def begin(runs: Path, starter: TaskStarter) -> None:
    """Write the first state, of the weights in `runs/model.pt`, unless there is a state."""
    if not (runs / STATE).exists():
        starter.start_from(load_weights(runs / "model.pt"))
        start_over(runs / STATE, starter)


def draw_task_times(examples: Sequence[Example], rhythm: bool) -> torch.Tensor:
    """Flow-matching times `[B]`: a cover's are towards the noisy end, where the notes are decided."""
    noisy = draw_noisy_times(len(examples))
    covers = torch.tensor([row.task == "cover" for row in examples])
    return torch.where(covers, noisy, draw_times(len(examples), rhythm))


def batch_loss(
    starter: TaskStarter,
    outline: OutlineReader | None,
    examples: Sequence[Example],
    times: torch.Tensor,
    lyrics: str,
    rhythm: bool,
    dropout: float = PROMPT_DROPOUT,
) -> torch.Tensor:
    """The loss of each example, `[B]`; times `[B]`. With `rhythm` it is on loudness alone, but for covers."""
    device = starter.transformer.device
    silence = starter.condition_encoder.silence_latent
    latents, weights = (
        torch.stack(list(parts)).to(device)
        for parts in zip(*((row.latents, row.weights) for row in examples), strict=True)
    )
    context = torch.stack([row.context(silence, outline) for row in examples]).to(device)
    dropped = (torch.rand(len(examples)) < dropout).view(-1, 1, 1).to(device)
    with sdpa_kernel(SDPBackend.MATH), autocast(device.type):
        texts, references = [row.prompt for row in examples], [row.reference for row in examples]
        conditions = starter.task_conditions(texts, lyrics, references)
        conditions = torch.where(dropped, starter.condition_encoder.null_condition_emb, conditions)
        noise = torch.randn(latents.shape).to(device)
        error = starter.squared_error(latents, noise, times.to(device), conditions, context)
    only = [rhythm and row.task != "cover" for row in examples]
    channels = torch.stack([channel_weights(error, levels, starter.shape) for levels in only])
    return (error * channels[:, None] * weights[..., None]).sum(2).mean(1) / channels.sum(1)


def _note(losses: dict[str, float], examples: Sequence[Example], loss: torch.Tensor) -> None:
    """Take in a step's losses to the running means of the tasks."""
    for row, value in zip(examples, loss.tolist(), strict=True):
        name = row.task if row.reference is None else f"{row.task} with reference"
        losses[name] = 0.98 * losses.get(name, value) + 0.02 * value


def validate(starter: TaskStarter, outline: OutlineReader | None, library: Library[Piece]) -> dict[str, float]:
    """Text-to-music's validation, and each task's loss with the right and with another piece's source or reference."""
    clips: Library[Clip] = library  # type: ignore[assignment]  # only read
    result = validation(starter, clips)
    pieces = [piece for piece in library.clips[:VALIDATION_CLIPS] if piece.seconds == LOOP_SECONDS]
    tasks: tuple[Task, ...] = tuple(task for task in SHARES if task != "text" and (outline or task != "cover"))
    for task in tasks:
        able = [piece for piece in pieces if can_do(piece, task)]
        rows = [example(piece, task, 10.0, np.random.default_rng(n), starter.shape) for n, piece in enumerate(able)]
        result[task] = _validation_loss(starter, outline, rows)
        others = _of_other_genres(able)
        rows = [replace(row, source=rows[other].source) for row, other in zip(rows, others, strict=True)]
        result[f"{task}, other source"] = _validation_loss(starter, outline, rows)
    able = [piece for piece in pieces if piece.sibling is not None]
    rows = [example(piece, "text", 10.0, np.random.default_rng(n), starter.shape, True) for n, piece in enumerate(able)]
    result["reference"] = _validation_loss(starter, outline, rows)
    others = _of_other_genres(able)
    rows = [replace(row, reference=rows[other].reference) for row, other in zip(rows, others, strict=True)]
    result["other reference"] = _validation_loss(starter, outline, rows)
    rows = [replace(row, reference=None) for row in rows]
    result["no reference"] = _validation_loss(starter, outline, rows)
    return result


def _of_other_genres(pieces: Sequence[Piece]) -> list[int]:
    """For each piece the number of the next one of another genre."""
    count = len(pieces)
    return [
        next(n % count for n in range(first, first + count) if pieces[n % count].song.genre != piece.song.genre)
        for first, piece in enumerate(pieces)
    ]


@torch.no_grad()
def _validation_loss(starter: TaskStarter, outline: OutlineReader | None, rows: list[Example]) -> float:
    torch.manual_seed(0)
    assert all(len(row.latents) == starter.shape.frames(10.0) for row in rows)
    times = torch.linspace(0.03, 0.99, len(rows))[torch.randperm(len(rows))]
    loss = batch_loss(starter, outline, rows, times, format_prompt("", 10)[1], rhythm=False, dropout=0.0)
    return round(float(loss.mean()), 4)
