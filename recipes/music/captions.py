"""Prompts that describe a clip, from its record."""

from __future__ import annotations

from typing import Any

import numpy as np

from models.base import Text
from recipes.synthesiser import Song
from recipes.synthesiser.captions import DRUM_WORDS, MOOD_WORDS, NO_DRUM_WORDS, text
from recipes.synthesiser.genres import STYLES
from recipes.synthesiser.song import NOTES

from .ensembles import ENSEMBLES, INSTRUMENTS
from .songs import SAMPLED

TEMPLATES = ("{style}, {parts}, {drums}", "{parts}, {style}", "{mood} {style}, {parts}", "{style}, {drums}", "{style}")
MOODS = {"major": ("happy", "bright", "uplifting", "warm"), "minor": ("sad", "dark", "dramatic", "melancholic")}
SLOW, FAST = 76, 132
"""Beats per minute below and above which a caption may call the pace slow or fast."""


def clip_text(record: dict[str, Any], rng: np.random.Generator) -> Text:
    """A prompt for the clip of this record (`corpus.ClipRenderer.clip`), in random words."""
    if record["kind"] == "synthesiser":
        return text(Song(**record["song"]), rng)
    if record["kind"] == "sampled song":
        song = Song(**record["song"])
        voices = [voice for voice in (song.bass, song.chord, song.melody) if voice]
        instruments = [SAMPLED.get(voice, "saw lead") for voice in voices]
        moods = MOOD_WORDS.get(song.mood, (song.mood,))
        words = _worded(STYLES[song.genre].names, instruments, moods, song.drums, song.bpm, rng)
        return Text(words, bpm=song.bpm, key=song.key, time_signature=str(song.beats_per_bar))
    roles: dict[str, list[str]] = record["instruments"]
    instruments = sorted({name for role, names in roles.items() if role != "drums" for name in names})
    style, mode, bpm = record["style"], record["mode"], record["bpm"]
    words = _worded(ENSEMBLES[style].names, instruments, MOODS[mode], "drums" in roles, bpm, rng)
    # Compound time counts dotted quarters, which no field can express.
    signature = str(round(record["bar"])) if record["bar"] in (2, 3, 4) else None
    return Text(words, bpm=bpm, key=f"{NOTES[record['tonic']]} {mode}", time_signature=signature)


def _worded(
    styles: tuple[str, ...],
    instruments: list[str],
    moods: tuple[str, ...],
    drums: bool,
    bpm: int,
    rng: np.random.Generator,
) -> str:
    def pick(options: tuple[str, ...]) -> str:
        return options[rng.integers(len(options))]

    parts = [pick(INSTRUMENTS[instruments[n]][1]) for n in rng.permutation(len(instruments))]
    words = pick(TEMPLATES).format(
        style=pick(styles),
        parts=", ".join(dict.fromkeys(parts[: int(rng.integers(1, 4))])),
        mood=pick(moods),
        drums=pick(DRUM_WORDS if drums else NO_DRUM_WORDS),
    )
    pace = "slow" if bpm < SLOW else "fast" if bpm > FAST else None
    return f"{words}, {pace}" if pace and rng.random() < 0.4 else words
