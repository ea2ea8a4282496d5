"""Prompts exactly as `AceStepPipeline` formats them, and a tokenizer that knows the format's fixed parts as tokens."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import numpy as np
from diffusers import AceStepPipeline
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from ..synthesiser import GENRES, Song, caption, metadata, sample_song
from ..synthesiser.song import NOTES, SCALES

END = "<|endoftext|>"
NUMBERS = range(20, 301)
"""Tempos and durations that are one token each."""
OMITTED = {"bpm": 0.1, "keyscale": 0.2, "timesignature": 0.3}
"""How often training leaves a field out."""

ODD = 0.3
"""How often a song is asked for by a tempo one beside its own."""

_FORMAT = SimpleNamespace(_build_metadata_string=AceStepPipeline._build_metadata_string)


def format_prompt(prompt: str, seconds: float, **fields: Any) -> tuple[str, str]:
    """The text and the lyrics that the pipeline would encode for an instrumental without lyrics."""
    return AceStepPipeline._format_prompt(_FORMAT, prompt=prompt, lyrics="", audio_duration=seconds, **fields)


def song_prompt(song: Song, seconds: float, rng: np.random.Generator) -> str:
    """A prompt that asks for `song`, worded at random and with fields left out at random.

    Songs have even tempos; some are asked for by an odd one beside theirs, so that odd ones mean the nearest even one.
    """
    if rng.random() < ODD:
        song = replace(song, bpm=song.bpm + int(rng.choice((-1, 1))))
    fields = {name: value for name, value in metadata(song).items() if rng.random() > OMITTED[name]}
    return format_prompt(caption(song, rng), seconds, **fields)[0]


@lru_cache(maxsize=1)
def template_parts() -> list[str]:
    """The fixed strings between what a user chooses."""
    marks = ("\x00", "\x01", "\x02", "987")
    text, lyrics = format_prompt(marks[0], 987, timesignature=marks[1], keyscale=marks[2], bpm=123)
    parts = re.split("|".join((*marks, "123")), text)
    return [*parts, *re.split("en", lyrics.removesuffix(END), maxsplit=1)]


def build_tokenizer(vocabulary: int = 1200) -> PreTrainedTokenizerFast:
    """Byte-level BPE learned from captions: any text can be encoded, known words and numbers are one token."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    words = Regex(r"\d+|[a-z][#a-z'\-]*|\s+|[^\sa-z0-9]")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(words, "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    rng = np.random.default_rng(5)
    songs = [sample_song(rng, GENRES[n % len(GENRES)]) for n in range(4000)]
    corpus = [caption(song, rng, held_out=n % 4 == 0) for n, song in enumerate(songs)]
    corpus += [str(number) for number in NUMBERS for _ in range(200)]
    corpus += [f"{note} {mode}" for note in NOTES for mode in SCALES for _ in range(50)]
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus, trainer)
    tokenizer.add_special_tokens([AddedToken(part, special=True, normalized=False) for part in template_parts()])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=END, eos_token=END, padding_side="right", model_max_length=2048
    )
