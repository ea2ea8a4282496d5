"""Tasks: how a track comes about, from text alone or from a source recording."""

from __future__ import annotations

from typing import Literal, get_args

Task = Literal["text", "repaint", "extend", "cover", "complete", "lego", "extract", "melody"]
TASKS: tuple[Task, ...] = get_args(Task)

# The tracks that ACE-Step knows by name.
TrackName = Literal[
    "vocals",
    "backing_vocals",
    "drums",
    "bass",
    "guitar",
    "keyboard",
    "percussion",
    "strings",
    "synth",
    "fx",
    "brass",
    "woodwinds",
]
TRACK_NAMES: tuple[TrackName, ...] = get_args(TrackName)
