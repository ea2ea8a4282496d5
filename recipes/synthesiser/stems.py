"""A song's stems by ACE-Step's names of tracks, and pieces with other notes or other instruments."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from contract.tasks import TrackName

from .song import Song, sample_song

_TRACK_OF_VOICE: dict[str, TrackName] = {
    "rhodes": "keyboard",
    "piano": "keyboard",
    "organ": "keyboard",
    "skank": "keyboard",
    "strings": "strings",
    "choir": "backing_vocals",
    "guitar": "guitar",
    "kalimba": "percussion",
    "marimba": "percussion",
    "gong": "percussion",
    "metallophone": "percussion",
    "melodica": "woodwinds",
}
"""Tracks of the chords' and melodies' voices; the others are synthesisers."""


def stems(song: Song) -> dict[TrackName, tuple[str, ...]]:
    """The stems that a song has, and the names in `render.TRACKS` of each. Two voices may share a stem."""
    found: dict[TrackName, tuple[str, ...]] = {}
    if song.drums:
        found["drums"] = ("kick", "drums")
    if song.bass:
        found["bass"] = ("bass",)
    for track, voice in (("chord", song.chord), ("melody", song.melody)):
        if voice:
            name = _TRACK_OF_VOICE.get(voice, "synth")
            found[name] = (*found.get(name, ()), track)
    return found


INSTRUMENTS = ("drums", "bass", "chord", "melody", "kit")


def sibling(song: Song, rng: np.random.Generator) -> Song:
    """Another piece for the same instruments, in the same mood: another tempo, key, groove and tune."""
    return sample_song(rng, song.genre, **{name: getattr(song, name) for name in (*INSTRUMENTS, "mood")})


def with_instruments(song: Song, other: Song) -> Song:
    """The notes of a song, on the instruments of another."""
    return replace(song, **{name: getattr(other, name) for name in INSTRUMENTS})
