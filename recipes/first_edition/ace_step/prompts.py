"""Prompts as `AceStepPipeline` formats them, and a tokenizer in which the format's fixed parts are single tokens."""

from __future__ import annotations

import re
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import numpy as np
from diffusers import AceStepPipeline
from transformers import PreTrainedTokenizerFast

from models.base import Text

from ...synthesiser import Song
from ..prompts import END, learned_tokenizer, loose_text

_FORMAT = SimpleNamespace(_build_metadata_string=AceStepPipeline._build_metadata_string)


def format_prompt(prompt: str, seconds: float, **fields: Any) -> tuple[str, str]:
    """The text and the lyrics that the pipeline encodes for an instrumental."""
    return AceStepPipeline._format_prompt(_FORMAT, prompt=prompt, lyrics="", audio_duration=seconds, **fields)


def song_prompt(song: Song, seconds: float, rng: np.random.Generator) -> str:
    """A prompt for `song` in random words, with random fields omitted."""
    return text_prompt(loose_text(song, rng), seconds)


def text_prompt(text: Text, seconds: float, **fields: Any) -> str:
    """What the pipeline encodes for a text; `fields` are further arguments of its format."""
    known = {"bpm": text.bpm, "keyscale": text.key, "timesignature": text.time_signature}
    return format_prompt(text.prompt, seconds, **fields, **{name: value for name, value in known.items() if value})[0]


@lru_cache(maxsize=1)
def template_parts() -> list[str]:
    """The fixed strings of the prompt format."""
    marks = ("\x00", "\x01", "\x02", "987")
    text, lyrics = format_prompt(marks[0], 987, timesignature=marks[1], keyscale=marks[2], bpm=123)
    parts = re.split("|".join((*marks, "123")), text)
    return [*parts, *re.split("en", lyrics.removesuffix(END), maxsplit=1)]


def build_tokenizer() -> PreTrainedTokenizerFast:
    return learned_tokenizer(template_parts())
