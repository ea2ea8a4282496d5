"""Training examples of all tasks, mixed in one batch: latents, context, condition and the weight of each frame."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from contract.tasks import Task, TrackName

from ...clips import LONG_SECONDS, LOOP_SECONDS, Library, draw, for_training
from ...prompts import loose_text
from ..architecture import LatentShape
from ..model import DRUMLESS_SHARE, LONG_SHARE, LOOP_LENGTHS, SECONDS_PER_STEP, cut
from .audio_tokens import OutlineReader
from .pieces import Piece
from .prompts import bare_text, source_text, task_prompt
from .timbre import reference_of

SHARES: dict[Task, float] = {
    "text": 0.42,
    "repaint": 0.05,
    "extend": 0.04,
    "cover": 0.4,
    "complete": 0.03,
    "lego": 0.04,
    "extract": 0.02,
}
"""Shares of the tasks among the loops."""
STEM_TASKS = ("complete", "lego", "extract")
LONG_SHARES: dict[Task, float] = {"text": 0.7, "repaint": 0.15, "extend": 0.15}
REFERENCE_SHARE = {"text": 0.1, "cover": 0.03}
"""Share of a task's loops that have a reference. Encoding it makes a step longer, by a half where each loop has one."""
BARE_SHARE = 0.9
"""Share of the prompts beside a reference that name no instrument."""
KEYLESS_SHARE = 0.6
"""Share of covers without a key, beside those that `source_text` omits: their harmony is learned from the source."""
OFF_THE_CLOCK = 0.3
"""Share of sources whose first beat is anywhere, so that their own beat must be followed and not the clock's."""
OUTSIDE_WEIGHT = 0.2
"""Weight in the loss of frames outside the window, which the source shows."""


@dataclass
class Example:
    """One row of a batch.

    Attributes:
        latents: to be generated, `[T, channels]`.
        source: of the context, `[T, channels]`; None for the clock, which stands for silence. A cover's is the target,
            which is still to go through the audio tokens.
        window: 1 where the task generates, `[T]`.
        reference: 30 s, `[T, channels]`, or None for silence.
    """

    task: Task
    prompt: str
    latents: torch.Tensor
    source: torch.Tensor | None
    window: torch.Tensor
    reference: torch.Tensor | None = None

    @property
    def weights(self) -> torch.Tensor:
        """The weight of each frame in the loss, `[T]`, 1 in the mean."""
        weights = OUTSIDE_WEIGHT + (1 - OUTSIDE_WEIGHT) * self.window
        return weights / weights.mean()

    def context(self, silence: torch.Tensor, outline: OutlineReader | None) -> torch.Tensor:
        """The transformer's context as the pipeline makes it, `[T, 2 * channels]`.

        Args:
            silence: its latents, which are the clock, `[1, length, channels]`.
            outline: reads the source of covers.
        """
        clock = silence[0, : len(self.window)]
        window = self.window[:, None].expand_as(clock)
        source = clock if self.source is None else self.source
        if self.task == "cover":
            if outline is None:
                raise ValueError("train the audio tokens before covers")
            source = outline(source, silence)
        if self.task in ("repaint", "extend"):
            source = torch.where(window > 0, clock, source)
        return torch.cat([source, window], -1)


def draw_batch(
    library: Library[Piece], rng: np.random.Generator, shape: LatentShape, covers: bool = True
) -> list[Example]:
    """Examples of one length, of `SECONDS_PER_STEP` in all; repaints in place of covers if not `covers`."""
    long = rng.random() < LONG_SHARE
    seconds = float(rng.choice(LONG_SECONDS if long else LOOP_LENGTHS))
    stock = for_training(library, seconds if long else LOOP_SECONDS)
    shares = LONG_SHARES if long else SHARES
    examples = []
    for task in rng.choice(list(shares), max(1, round(SECONDS_PER_STEP / seconds)), p=list(shares.values())):
        if task == "cover" and not covers:
            task = "repaint"
        referred = rng.random() < REFERENCE_SHARE.get(task, 0.0) and not long
        able = [piece for piece in stock if can_do(piece, task, referred)] or stock
        (piece,) = draw(able, 1, DRUMLESS_SHARE, rng)
        examples.append(example(piece, task if can_do(piece, task) else "text", seconds, rng, shape, referred))
    return examples


def can_do(piece: Piece, task: Task, referred: bool = False) -> bool:
    """Whether a piece has what a task needs, and a sibling if it needs a reference."""
    return (piece.stems is not None or task not in STEM_TASKS) and (piece.sibling is not None or not referred)


def example(
    piece: Piece, task: Task, seconds: float, rng: np.random.Generator, shape: LatentShape, referred: bool = False
) -> Example:
    """An example of a task from one piece, with its sibling as reference if it has one and `referred`."""
    length = shape.frames(seconds)
    if task in STEM_TASKS:
        return _of_stems(piece, task, seconds, length, rng)
    reference = None
    if referred and piece.sibling is not None:
        turned = torch.roll(piece.sibling, int(rng.integers(len(piece.sibling))), 0)
        reference = reference_of(turned, shape).float()
    bare = reference is not None and rng.random() < BARE_SHARE
    words = bare_text if bare else loose_text if task == "text" else source_text
    text = words(piece.song, rng)
    if task == "cover" and rng.random() < KEYLESS_SHARE:
        text = replace(text, key=None)
    prompt = task_prompt(text, seconds, task)
    if task == "text":
        return Example(task, prompt, cut(piece, length, rng, shape.frames).float(), None, torch.ones(length), reference)
    off = rng.random() < OFF_THE_CLOCK
    latents = (any_cut(piece.frames, length, rng) if off else cut(piece, length, rng, shape.frames)).float()
    window = draw_window(task, length, rng)
    return Example(task, prompt, latents, latents, window, reference)


def _of_stems(piece: Piece, task: Task, seconds: float, length: int, rng: np.random.Generator) -> Example:
    """Lego gives a stem for the rest, extract a stem of the mix, and complete the mix for a stem or for the rest."""
    assert piece.stems is not None
    stems = piece.stems
    start = int(rng.integers(len(piece.frames) - length + 1)) if rng.random() < OFF_THE_CLOCK else 0
    mix, alone, rest = (part[start : start + length].float() for part in (piece.frames, stems.alone, stems.rest))
    tracks: tuple[TrackName, ...] = (stems.name,)
    wanted, source = alone, mix if task == "extract" else rest
    if task == "complete":
        wanted = mix
        if rng.random() < 0.5:
            tracks, source = stems.others, alone
    prompt = task_prompt(source_text(piece.song, rng), seconds, task, tracks)
    return Example(task, prompt, wanted, source, torch.ones(length))


def any_cut(frames: torch.Tensor, length: int, rng: np.random.Generator) -> torch.Tensor:
    """`length` of the frames `[T, channels]`, from any one on."""
    start = int(rng.integers(len(frames) - length + 1))
    return frames[start : start + length]


def draw_window(task: Task, length: int, rng: np.random.Generator) -> torch.Tensor:
    """1 in a random window, 0 outside, `[length]`: inside for repaint, at one end for extend, else everywhere."""
    if task not in ("repaint", "extend"):
        return torch.ones(length)
    window = torch.zeros(length)
    if task == "extend":
        size = int(length * rng.uniform(0.25, 0.7))
        if rng.random() < 0.7:
            window[length - size :] = 1
        else:
            window[:size] = 1
        return window
    size = int(length * rng.uniform(0.15, 0.75))
    start = int(rng.integers(length - size + 1))
    window[start : start + size] = 1
    return window
