"""Captions: from a clip's metadata, analysis and tags to the text and fields that a model is conditioned on.

Field names are accepted in any spelling (`timeSignature`, `time_signature`, `Time Signature`); unknown names and values
are ignored.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from core.notation import Unreadable, whole
from core.text import printable
from preprocessing.conditional_logit import MIN_CONFIDENCE
from preprocessing.metadata import FIELDS, parse_metadata

DEFAULT_TEXT = "instrumental beat"
MAX_VALUE_LENGTH = 200  # characters
MAX_TEXT_LENGTH = 600  # characters

# The metadata that becomes text, in this order; each field with its aliases.
_TEXT_FIELDS = [
    ("caption", "description", "prompt"),
    ("genre", "genres"),
    ("subgenre", "subgenres", "style"),
    ("tags", "tag", "keywords"),
    ("instruments", "instrument"),
    ("mood", "moods"),
]


@dataclass(frozen=True)
class Caption:
    """The caption of a clip: its text, and fields that some models take apart from it.

    Attributes:
        text: one line, never empty.
        key: such as "A minor".
        time_signature: beats of a bar, one of "2", "3", "4", "6".
    """

    text: str
    bpm: int | None = None
    key: str | None = None
    time_signature: str | None = None


@dataclass(frozen=True)
class Tags:
    """Tags that Gemini gave a segment; each a few words, or empty."""

    sub_genre: str
    drum_texture: str
    synth_type: str
    mood: str

    def line(self) -> str:
        """All tags in one line, as in the text file beside the segment."""
        return ", ".join(_distinct([self.sub_genre, self.drum_texture, self.synth_type, self.mood]))


@dataclass(frozen=True)
class ClipInfo:
    """The inputs of a caption.

    Attributes:
        path: of the source file, as the client named it.
        metadata: the client's, for that file.
        analysis: of that file, as in the dataset's record.
        tags: the line in the text file beside the segment, from Gemini or edited by hand.
    """

    path: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    analysis: Mapping[str, Any] = field(default_factory=dict)
    tags: str = ""


def normalize_dataset(clips: Iterable[ClipInfo]) -> list[Caption]:
    """The caption of each clip."""
    return [caption(clip) for clip in clips]


def caption(clip: ClipInfo) -> Caption:
    """The caption of a clip.

    The text is the client's words, the tags, then the title, without repetitions. A title does not describe the sound,
    so the default text precedes it where there is nothing else. Tempo and key are those of the metadata, else of the
    file's name ("night_140bpm_F#m.wav"), else of the analysis if its confidence suffices; a field that the client
    filled with an unreadable value stays empty.
    """
    fields = {re.sub(r"[^a-z]", "", str(name).lower()): value for name, value in clip.metadata.items()}
    words = [text for names in _TEXT_FIELDS for text in _texts(_first(fields, names))]
    words = _distinct([*words, clean(clip.tags, MAX_TEXT_LENGTH)])
    text = ", ".join(_distinct([*(words or [DEFAULT_TEXT]), *_texts(_first(fields, ("title", "name")))]))
    parsed = parse_metadata(clip.metadata, clip.path)
    bpm, key = parsed.bpm, parsed.key
    if bpm is None and "bpm" not in parsed.unreadable:
        bpm = _estimated(clip.analysis, "bpm")
    if key is None and "key" not in parsed.unreadable:
        key = _estimated(clip.analysis, "key")
    text = text[:MAX_TEXT_LENGTH].rstrip(", ")
    return Caption(text, None if bpm is None else whole(bpm), key, parsed.time_signature)


def clean(text: str, limit: int = MAX_VALUE_LENGTH) -> str:
    """One line of printable text of at most `limit` characters."""
    return " ".join(printable(text, " ").split())[:limit].strip(" ,")


def _first(fields: Mapping[str, Any], names: Iterable[str]) -> Any:
    return next((fields[name] for name in names if fields.get(name) is not None), None)


def _estimated(analysis: Mapping[str, Any], field: str) -> Any:
    """The estimate of a field, None if its confidence is too low."""
    confident = (analysis.get(f"{field}_confidence") or 0) >= MIN_CONFIDENCE
    try:
        return FIELDS[field].read(analysis.get(field)) if confident else None
    except Unreadable:
        return None


def _texts(value: Any) -> list[str]:
    """The texts in a value: the value itself, or the items of its list."""
    items = value if isinstance(value, list) else [value]
    return [text for item in items if isinstance(item, str) and (text := clean(item))]


def _distinct(texts: Iterable[str]) -> list[str]:
    """The comma-separated phrases of all texts, without empty ones and repetitions."""
    found: dict[str, str] = {}
    for word in (word.strip() for text in texts for word in text.split(",")):
        if word:
            found.setdefault(word.casefold(), word)
    return list(found.values())
