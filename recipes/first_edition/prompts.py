"""Training prompts, and the tokenizer that is learned from captions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from models.base import Text

from ..synthesiser import GENRES, Song, caption, sample_song, text
from ..synthesiser.captions import NO_DRUM_WORDS
from ..synthesiser.genres import STYLES
from ..synthesiser.song import NOTES, SCALES

END = "<|endoftext|>"
NUMBERS = range(20, 301)
"""Tempos and durations, each of which is one token."""
OMITTED = {"bpm": 0.1, "key": 0.2, "time_signature": 0.3}
"""Probability of omitting a field in training."""
ODD_TEMPO = 0.3
"""Probability of a prompt with the odd tempo next to the song's even one."""


def loose_text(song: Song, rng: np.random.Generator) -> Text:
    """A prompt for `song` in random words, with random fields omitted.

    If a song has no drums although its genre has them, the prompt says so. Songs have even tempos; some prompts name
    the odd tempo next to it, so that the model maps odd tempos to the nearest even one.
    """
    if rng.random() < ODD_TEMPO:
        song = replace(song, bpm=song.bpm + int(rng.choice((-1, 1))))
    omitted = draw_omitted(OMITTED, rng)
    while True:
        prompt = replace(text(song, rng), **omitted)  # type: ignore[arg-type]
        if not lacks_drums(song) or any(words in prompt.prompt for words in NO_DRUM_WORDS):
            return prompt


def draw_omitted(shares: Mapping[str, float], rng: np.random.Generator) -> dict[str, None]:
    """The fields of a `Text` to leave out, of those with a probability of it."""
    return {name: None for name, share in shares.items() if rng.random() < share}


def lacks_drums(song: Song) -> bool:
    """Whether it has no drums although its genre has them."""
    return not song.drums and STYLES[song.genre].drum_share > 0.5


@torch.no_grad()
def start_numbers(
    embedding: torch.Tensor, tokenizer: PreTrainedTokenizerFast, tempos: range, height: float = 1.5
) -> None:
    """Start each number's embedding `[V, width]` as a bump over some tempos, so that neighbours are alike.

    Numbers beyond the tempos start at half or double time.
    """
    embedding.normal_(0, 0.3)
    centers = torch.tensor(list(tempos), dtype=torch.float32)
    for number, token in number_tokens(tokenizer).items():
        distance = (within(number, tempos) - centers) / 1.2
        embedding[token, : len(centers)] = height * torch.exp(-0.5 * distance.square())


def number_tokens(tokenizer: PreTrainedTokenizerFast) -> dict[int, int]:
    """The token of each of `NUMBERS`."""
    return {number: tokenizer.convert_tokens_to_ids(str(number)) for number in NUMBERS}


def within(number: int, tempos: range) -> float:
    """A number as a tempo among `tempos`: itself, or its half or double."""
    return number * 2.0 if number < tempos[0] else number / 2 if number > tempos[-1] else number


def learned_tokenizer(
    parts: Sequence[str] = (), vocabulary: int = 1200, captions: Sequence[str] = ()
) -> PreTrainedTokenizerFast:
    """Byte-level BPE learned from captions: any text can be encoded, known words and numbers are one token.

    Args:
        parts: fixed strings that become one token each.
        captions: more captions to learn from.
    """
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
    corpus += captions
    corpus += [str(number) for number in NUMBERS for _ in range(200)]
    corpus += [f"{note} {mode}" for note in NOTES for mode in SCALES for _ in range(50)]
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus, trainer)
    tokenizer.add_special_tokens([AddedToken(part, special=True, normalized=False) for part in parts])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=END, eos_token=END, padding_side="right", model_max_length=2048
    )
