"""Prompts of the tasks, and the tokenizer that knows their instructions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from diffusers import AceStepPipeline
from transformers import PreTrainedTokenizerFast

from contract.tasks import Task, TrackName
from models.base import Text

from ....synthesiser import Song
from ....synthesiser.captions import MOOD_WORDS
from ....synthesiser.genres import STYLES
from ...prompts import draw_omitted, learned_tokenizer, loose_text
from ..prompts import format_prompt, template_parts, text_prompt

BARE_TEMPLATES = ("{mood} {genre}", "{genre}", "{mood}", "", "", "")
"""Captions that name no instrument, for pieces with a reference."""
TOLD_BY_SOURCE = {"bpm": 0.5, "key": 0.5}
"""Probability of omitting a field that the source tells."""


def instruction(task: Task, tracks: Sequence[TrackName] = ()) -> str:
    """The pipeline's instruction for a task; extend is a repaint beyond the source's end."""
    name = {"text": "text2music", "extend": "repaint"}.get(task, task)
    single = tracks[0] if tracks else None
    return AceStepPipeline._get_task_instruction(name, track_name=single, complete_track_classes=list(tracks))


def task_prompt(text: Text, seconds: float, task: Task, tracks: Sequence[TrackName] = ()) -> str:
    """What the pipeline encodes for a text."""
    return text_prompt(text, seconds, instruction=instruction(task, tracks))


def bare_text(song: Song, rng: np.random.Generator) -> Text:
    """A text that leaves the instruments to the reference."""
    words = MOOD_WORDS.get(song.mood, (song.mood,))
    names = STYLES[song.genre].names
    template = BARE_TEMPLATES[rng.integers(len(BARE_TEMPLATES))]
    caption = template.format(mood=words[rng.integers(len(words))], genre=names[rng.integers(len(names))])
    return replace(loose_text(song, rng), prompt=caption)


def source_text(song: Song, rng: np.random.Generator) -> Text:
    """A text that often leaves tempo and key to the source."""
    omitted = draw_omitted(TOLD_BY_SOURCE, rng)
    return replace(loose_text(song, rng), **omitted)  # type: ignore[arg-type]


def build_task_tokenizer() -> PreTrainedTokenizerFast:
    """The tokenizer of text-to-music, and after its tokens one for each fixed part of the other instructions."""
    return learned_tokenizer([*template_parts(), *instruction_parts()])


def instruction_parts() -> list[str]:
    """The fixed strings of the instructions beside text-to-music's."""
    parts: dict[str, None] = {}
    for task in ("repaint", "cover", "lego", "extract", "complete"):
        head = format_prompt("\x00", 10, instruction=instruction(task, ("vocals",)))[0].split("\x00")[0]
        parts |= dict.fromkeys(re.split("VOCALS", head))
    return list(parts)
