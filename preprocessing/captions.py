"""What a clip is said to be: from metadata, analysis and tags to the text that the conditioner reads.

This is the one place where metadata is understood. Names are taken in any spelling (`timeSignature`, `time_signature`,
`Time Signature`); names and values that are not understood are ignored.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from core.notation import Unreadable, whole
from core.text import printable
from preprocessing.choice import LIKELY
from preprocessing.metadata import FIELDS, said

NOTHING_KNOWN = "instrumental beat"
MAX_VALUE = 200  # characters of one value
MAX_TEXT = 600  # characters of the whole text

# What becomes text, in the order of the text; each with its other names.
_TEXT = [
    ("caption", "description", "prompt"),
    ("genre", "genres"),
    ("subgenre", "subgenres", "style"),
    ("tags", "tag", "keywords"),
    ("instruments", "instrument"),
    ("mood", "moods"),
]


@dataclass(frozen=True)
class Caption:
    """`text` is one line and never empty; `key` is like "A minor"; `time_signature` is one of 2 3 4 6."""

    text: str
    bpm: int | None = None
    key: str | None = None
    time_signature: str | None = None


@dataclass(frozen=True)
class Tags:
    """What listening to a segment told; each a few words, or empty."""

    sub_genre: str
    drum_texture: str
    synth_type: str
    mood: str

    def line(self) -> str:
        """All in one line, as it is written beside the segment."""
        return ", ".join(_distinct([self.sub_genre, self.drum_texture, self.synth_type, self.mood]))


@dataclass(frozen=True)
class Known:
    """What is known of a clip: its file as the client named it, the client's metadata, the analysis as the record has
    it, and a line of tags, Gemini's or as somebody has edited them."""

    path: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    analysis: Mapping[str, Any] = field(default_factory=dict)
    tags: str = ""


def normalize_dataset(clips: Iterable[Known]) -> list[Caption]:
    """The caption of each clip, as the conditioner reads it: text, and the fields that a backend may have for more."""
    return [caption(clip) for clip in clips]


def caption(clip: Known) -> Caption:
    """The caption of a clip. The client's words come first, then the tags', then the title; none comes twice.

    A title alone says nothing of the sound, so it follows the words for a beat of which nothing is known. For bpm and
    key the metadata counts, else what the file's name says ("night_140bpm_F#m.wav"), else the analysis where it is
    rather right than wrong; but what the client says and cannot be read stays empty.
    """
    known = {re.sub(r"[^a-z]", "", str(name).lower()): value for name, value in clip.metadata.items()}
    words = _distinct([*(text for names in _TEXT for text in _texts(_first(known, names))), clean(clip.tags, MAX_TEXT)])
    text = ", ".join(_distinct([*(words or [NOTHING_KNOWN]), *_texts(_first(known, ("title", "name")))]))
    told = said(clip.metadata, clip.path)
    bpm = _heard(clip.analysis, "bpm") if told.bpm is None and "bpm" not in told.unread else told.bpm
    key = _heard(clip.analysis, "key") if told.key is None and "key" not in told.unread else told.key
    return Caption(text[:MAX_TEXT].rstrip(", "), None if bpm is None else whole(bpm), key, told.time_signature)


def clean(text: str, limit: int = MAX_VALUE) -> str:
    """One line of printable text of a limited length."""
    return " ".join(printable(text, " ").split())[:limit].strip(" ,")


def _first(known: Mapping[str, Any], names: Iterable[str]) -> Any:
    return next((known[name] for name in names if known.get(name) is not None), None)


def _heard(analysis: Mapping[str, Any], field: str) -> Any:
    """What the analysis heard, where that is rather right than wrong."""
    likely = (analysis.get(f"{field}_confidence") or 0) >= LIKELY
    try:
        return FIELDS[field].read(analysis.get(field)) if likely else None
    except Unreadable:
        return None


def _texts(value: Any) -> list[str]:
    """The texts in a value: itself, or those in its list."""
    items = value if isinstance(value, list) else [value]
    return [text for item in items if isinstance(item, str) and (text := clean(item))]


def _distinct(texts: Iterable[str]) -> list[str]:
    """The comma-separated words of all texts, without empty ones and those said before."""
    found: dict[str, str] = {}
    for word in (word.strip() for text in texts for word in text.split(",")):
        if word:
            found.setdefault(word.casefold(), word)
    return list(found.values())
