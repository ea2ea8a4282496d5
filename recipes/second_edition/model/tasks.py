"""Train all tasks on songs and their stems, and on the corpus's clips, and assemble the checkpoint."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from tokenizers import AddedToken
from transformers import PreTrainedTokenizerFast

from contract.tasks import Task
from recipes.first_edition.ace_step.tasks.audio_tokens import train_audio_tokens
from recipes.first_edition.ace_step.tasks.examples import OFF_THE_CLOCK, Example, any_cut, draw_batch, draw_window
from recipes.first_edition.ace_step.tasks.model import TaskStarter
from recipes.first_edition.ace_step.tasks.pack import TASK_TRAITS, write
from recipes.first_edition.ace_step.tasks.pieces import Piece, load_piece, write_pieces
from recipes.first_edition.ace_step.tasks.prompts import TOLD_BY_SOURCE, instruction_parts, task_prompt
from recipes.first_edition.ace_step.tasks.timbre_training import train_timbre
from recipes.first_edition.ace_step.tasks.training import train_tasks
from recipes.first_edition.clips import LOOP_SECONDS, Library
from recipes.first_edition.prompts import draw_omitted

from ..codec.analysis import load_analysis
from ..codec.assembly import load_codec
from .clips import SHAPE, CorpusClip, Equaliser, analyse, load_corpus, with_noise
from .predictability import Probe
from .training import EQUALISED, build_tokenizer

PIECES = "pieces"
CORPUS_TASKS: tuple[Task, ...] = ("text", "repaint", "extend", "cover")
"""Tasks that need no stems; a batch's examples of them are of the corpus with probability `CORPUS_SHARE`."""
CORPUS_SHARE = 0.4
TRAITS = {**TASK_TRAITS, "level_channels": SHAPE.levels}


def encode_pieces(runs: Path, first: int, songs: int) -> None:
    """Write the latents of the synthesiser's songs and of their stems, with noise, to `runs/pieces`."""
    analysis = load_analysis(runs / "latents.safetensors")
    write_pieces(runs / PIECES, first, songs, lambda audio: with_noise(analyse(analysis, audio)).half())


def train_parts(runs: Path, token_steps: int, timbre_steps: int) -> None:
    """Train the tokenizer and detokenizer of covers, then the encoder of references."""
    train_audio_tokens(runs, token_steps, "cpu", SHAPE)
    train_timbre(runs, timbre_steps, "cpu", task_starter(runs))


def train_all_tasks(runs: Path, steps: int, rate: float, real: Path | None) -> None:
    """Train to `steps` steps in total, from the weights in `runs/model.pt`; resumes from `runs/tasks.pt`.

    Args:
        real: where packages with real music are unpacked, for the reports only.
    """
    corpus, held = load_corpus(runs)
    equaliser = Equaliser(load_analysis(runs / "latents.safetensors"))
    probe = Probe(runs, Library(runs / PIECES, load_piece), held, real)

    def draw(library: Library[Piece], rng: np.random.Generator, covers: bool) -> list[Example]:
        return draw_mixed(library, corpus, equaliser, rng, covers)

    train_tasks(runs, steps, "cpu", rate, False, task_starter(runs), draw, lambda starter: {"R²": probe(starter)})


def task_starter(runs: Path) -> TaskStarter:
    """The starter with the tokenizer of text-to-music and, after its tokens, those of the instructions."""
    tokenizer: PreTrainedTokenizerFast = build_tokenizer(runs)
    parts = [AddedToken(part, special=True, normalized=False) for part in instruction_parts()]
    tokenizer.add_tokens(parts, special_tokens=True)
    return TaskStarter(tokenizer, SHAPE)


def draw_mixed(
    library: Library[Piece], corpus: list[CorpusClip], equaliser: Equaliser, rng: np.random.Generator, covers: bool
) -> list[Example]:
    """Examples of songs of one length, some of which are replaced by the corpus's where it has such a length."""
    examples = draw_batch(library, rng, SHAPE, covers)
    length = len(examples[0].latents)
    if length > SHAPE.frames(LOOP_SECONDS):
        return examples
    return [
        corpus_example(corpus[rng.integers(len(corpus))], row.task, length, equaliser, rng)
        if row.task in CORPUS_TASKS and row.reference is None and rng.random() < CORPUS_SHARE
        else row
        for row in examples
    ]


def corpus_example(
    clip: CorpusClip, task: Task, length: int, equaliser: Equaliser, rng: np.random.Generator
) -> Example:
    """An example of a task from one clip; where the source tells tempo and key, the prompt often omits them."""
    text = clip.text(rng)
    if task != "text":
        text = replace(text, **draw_omitted(TOLD_BY_SOURCE, rng))  # type: ignore[arg-type]
    off = task != "text" and rng.random() < OFF_THE_CLOCK
    frames = any_cut(clip.frames, length, rng).float() if off else clip.cut(length, rng)
    if rng.random() < EQUALISED:
        frames = frames + equaliser.draw(rng)
    latents = with_noise(frames)
    source = None if task == "text" else latents
    seconds = length / SHAPE.frames(1.0)
    return Example(task, task_prompt(text, seconds, task), latents, source, draw_window(task, length, rng))


def pack(runs: Path, target: Path) -> None:
    """Assemble the last checkpoint as an `AceStepPipeline` in bfloat16."""
    write(runs, task_starter(runs), load_codec(runs), TRAITS, target)
