"""Prompts for a song, and ACE-Step's metadata fields."""

from __future__ import annotations

from typing import Any

import numpy as np

from models.base import Text

from .genres import STYLES
from .instruments import VOICES
from .song import Song

MOOD_WORDS = {
    "dark": ("dark", "gloomy"),
    "chill": ("chill", "laid-back"),
    "uplifting": ("uplifting", "euphoric"),
    "energetic": ("energetic", "high-energy"),
    "calm": ("calm", "soothing"),
    "retro": ("retro", "80s"),
    "hypnotic": ("hypnotic", "mesmerizing"),
    "party": ("party", "club"),
    "happy": ("happy", "cheerful"),
    "dreamy": ("dreamy", "floating"),
}
DRUM_WORDS = ("drums", "drum beat", "with drums", "hard drums")
NO_DRUM_WORDS = ("no drums", "without drums", "drumless")

TEMPLATES = (
    "{genre}, {mood}, {parts}, {drums}",
    "{mood} {genre}, {drums}, {parts}",
    "a {mood} {genre} loop, {parts}, {drums}",
    "{genre} with {parts}, {drums}, {mood} mood",
    "{parts}, {genre}, {mood}",
    "{genre}, {part}, {drums}",
    "{genre}, {mood} {part}",
    "{mood} {genre}",
    "{genre}, {drums}",
    "{genre}",
)
HELD_OUT_TEMPLATES = (
    "{drums}, {parts}, {mood}, {genre}",
    "a {genre} with {mood} {parts}, {drums}",
    "{part}, {drums}, {mood} {genre}",
)
"""Templates of the evaluation, which training never uses."""


def caption(song: Song, rng: np.random.Generator, held_out: bool = False) -> str:
    """Describe `song` in random words, often with omissions."""

    def pick(options: tuple[str, ...]) -> str:
        return options[rng.integers(len(options))]

    parts = [pick(VOICES[voice].labels) for voice in (song.bass, song.chord, song.melody) if voice]
    order = rng.permutation(len(parts))
    parts = [parts[i] for i in order]
    if rng.random() < 0.3 and not held_out:
        parts = parts[:2]
    joined = " and ".join(parts) if len(parts) == 2 and rng.random() < 0.4 else ", ".join(parts)
    text = pick(HELD_OUT_TEMPLATES if held_out else TEMPLATES).format(
        genre=pick(STYLES[song.genre].names),
        mood=pick(MOOD_WORDS.get(song.mood, (song.mood,))),
        parts=joined,
        part=parts[0],
        drums=pick(DRUM_WORDS if song.drums else NO_DRUM_WORDS),
    )
    if rng.random() < 0.25:
        text += f", {song.bpm} bpm"
    if rng.random() < 0.15:
        text += f", {song.key}"
    return text


def metadata(song: Song) -> dict[str, Any]:
    """`bpm`, `keyscale` and `timesignature` as `AceStepPipeline` takes them."""
    return {"bpm": song.bpm, "keyscale": song.key, "timesignature": str(song.beats_per_bar)}


def text(song: Song, rng: np.random.Generator, held_out: bool = False) -> Text:
    """Caption and metadata as the text that the service's models are conditioned on."""
    fields, words = metadata(song), caption(song, rng, held_out)
    return Text(words, bpm=fields["bpm"], key=fields["keyscale"], time_signature=fields["timesignature"])
