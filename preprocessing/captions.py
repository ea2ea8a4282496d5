"""Captions: the text and fields that a model is conditioned on, from a clip's metadata, tags and analysis.

Field names are accepted in any spelling (`timeSignature`, `time_signature`, `Time Signature`); unknown names and values
are ignored.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from contract import LANGUAGE_PATTERN
from core.notation import Unreadable, whole
from core.text import printable
from preprocessing.conditional_logit import MIN_CONFIDENCE
from preprocessing.metadata import FIELDS, ParsedMetadata, parse_metadata

DEFAULT_TEXT = "music"
MAX_VALUE_LENGTH = 200  # characters
MAX_TEXT_LENGTH = 600  # characters

Kind = Literal["caption", "genre", "instrument", "voice", "mood"]
# Where a word or a field is from: the client's metadata, the file's name, the tags inside the file, the text file
# beside the segment, one of the taggers, or the analysis.
Source = Literal["metadata", "name", "embedded", "text", "gemini", "tagger", "analysis"]
_TAGGERS: tuple[Source, ...] = ("gemini", "tagger")

# The metadata that becomes text, in this order; each field with its aliases, and the kind of words that it states.
_TEXT_FIELDS: list[tuple[tuple[str, ...], Kind]] = [
    (("caption", "description", "prompt"), "caption"),
    (("genre", "genres"), "genre"),
    (("subgenre", "subgenres", "style"), "genre"),
    (("tags", "tag", "keywords"), "caption"),
    (("instruments", "instrument"), "instrument"),
    (("mood", "moods"), "mood"),
]
_TITLE_FIELDS = ("title", "name")
_LANGUAGE_FIELDS = ("vocallanguage", "language")


@dataclass(frozen=True)
class Caption:
    """The caption of a clip: its text, and fields that some models take apart from it.

    Attributes:
        text: one line, never empty.
        key: such as "A minor".
        time_signature: beats of a bar, one of "2", "3", "4", "6".
        vocal: whether somebody sings or speaks; None if that is unknown.
        vocal_language: in which language, as an ISO 639 code such as "ja"; None if the client does not state it.
        sources: `text` has the Source of each phrase; the other fields that are not None have one Source.
    """

    text: str
    bpm: int | None = None
    key: str | None = None
    time_signature: str | None = None
    vocal: bool | None = None
    vocal_language: str | None = None
    sources: Mapping[str, Any] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class Tags:
    """Tags that Gemini gave a segment; each a few words, or empty."""

    sub_genre: str
    drum_texture: str
    synth_type: str
    mood: str

    def line(self) -> str:
        """All tags in one line, as in the text file beside the segment."""
        return ", ".join(
            _distinct((text, "") for text in (self.sub_genre, self.drum_texture, self.synth_type, self.mood))
        )


@dataclass(frozen=True)
class ClipInfo:
    """The inputs of a caption.

    Attributes:
        path: of the source file, as the client named it.
        metadata: the client's, for that file.
        analysis: of that file, as in the dataset's record.
        tags: the line in the text file beside the segment, from a tagger or edited by hand.
        tags_source: where that line is from.
        embedded: the tags inside that file, as in the dataset's record.
        vocal: whether the tagger heard a voice; None if it is not sure.
    """

    path: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    analysis: Mapping[str, Any] = field(default_factory=dict)
    tags: str = ""
    tags_source: Source = "text"
    embedded: Mapping[str, Any] = field(default_factory=dict)
    vocal: bool | None = None


def normalize_dataset(clips: Iterable[ClipInfo]) -> list[Caption]:
    """The caption of each clip."""
    return [caption(clip) for clip in clips]


def restored_caption(clip: ClipInfo, stored: Caption | None) -> Caption:
    """The stored caption of a clip if its text file is as it was written, else a new one.

    So a training that resumes after an upgrade has the same captions.
    """
    found = caption(clip)
    if stored is None or not _has_line(stored, clip.tags):
        return found
    return replace(stored, sources=stored.sources or found.sources)


def _has_line(stored: Caption, line: str) -> bool:
    """Whether the line has the words that the caption has from the taggers, and no others of its own."""
    sources = {phrase.casefold(): source for phrase, source in stored.sources.get("text", {}).items()}
    phrases = [phrase.casefold() for phrase in _distinct([(clean(line, MAX_TEXT_LENGTH), "")])]
    own = [phrase for phrase in phrases if sources.get(phrase, "text") in ("text", *_TAGGERS)]
    return own == [phrase for phrase, source in sources.items() if source in _TAGGERS]


def caption(clip: ClipInfo) -> Caption:
    """The caption of a clip.

    The text is the client's words, the genre inside the file unless the client states one, the tags, then the title,
    without repetitions. A title does not describe the sound, so the default text precedes it where there is nothing
    else. Tempo and key are those of the metadata, else of the file's name ("night_140bpm_F#m.wav"), else of the tags
    inside the file, else of the analysis if its confidence suffices; a field that the client filled with an unreadable
    value stays empty.
    """
    fields = _spelled(clip.metadata)
    words = [(text, "metadata") for names, _ in _TEXT_FIELDS for text in _texts(_first(fields, names))]
    if "genre" not in stated_kinds(clip.metadata):
        words += [(text, "embedded") for text in _texts(clip.embedded.get("genre"))]
    phrases = _distinct([*words, (clean(clip.tags, MAX_TEXT_LENGTH), clip.tags_source)])
    title = [(text, "metadata") for text in _texts(_first(fields, _TITLE_FIELDS))]
    described = [*phrases.items()] or [(DEFAULT_TEXT, "")]
    phrases = _distinct([*described, *title])
    text = ", ".join(phrases)[:MAX_TEXT_LENGTH].rstrip(", ")
    sources: dict[str, Any] = {"text": {phrase: source for phrase, source in phrases.items() if source}}
    parsed = parse_metadata(clip.metadata, clip.path)
    values: dict[str, Any] = {"time_signature": parsed.time_signature}
    if parsed.time_signature is not None:
        sources["time_signature"] = "metadata"
    for name in ("bpm", "key"):
        values[name], source = _tempo_or_key(name, clip, parsed)
        if source:
            sources[name] = source
    vocal = _stated_vocal(fields)
    if vocal is not None or clip.vocal is not None:
        sources["vocal"] = "tagger" if vocal is None else "metadata"
    language = _stated_language(fields)
    if language is not None:
        sources["vocal_language"] = "metadata"
    bpm = values.pop("bpm")
    return Caption(
        text,
        None if bpm is None else whole(bpm),
        vocal=clip.vocal if vocal is None else vocal,
        vocal_language=language,
        sources=sources,
        **values,
    )


def stated_kinds(metadata: Mapping[str, Any], embedded: Mapping[str, Any] | None = None) -> set[Kind]:
    """The kinds of words that the client states, or the tags inside the file."""
    fields = _spelled(metadata)
    kinds = {kind for names, kind in _TEXT_FIELDS if _texts(_first(fields, names))}
    if _stated_vocal(fields) is not None:
        kinds.add("voice")
    if embedded and embedded.get("genre"):
        kinds.add("genre")
    return kinds


def stated_title(metadata: Mapping[str, Any]) -> str | None:
    """The title that the client states, if any."""
    return next(iter(_texts(_first(_spelled(metadata), _TITLE_FIELDS))), None)


def clean(text: str, limit: int = MAX_VALUE_LENGTH) -> str:
    """One line of printable text of at most `limit` characters."""
    return " ".join(printable(text, " ").split())[:limit].strip(" ,")


def _spelled(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The fields by name in lower case, without other characters than letters."""
    return {re.sub(r"[^a-z]", "", str(name).lower()): value for name, value in metadata.items()}


def _first(fields: Mapping[str, Any], names: Iterable[str]) -> Any:
    return next((fields[name] for name in names if fields.get(name) is not None), None)


def _stated_vocal(fields: Mapping[str, Any]) -> bool | None:
    """Whether there is a voice, by the client's `instrumental` or `vocals`, true or false."""
    instrumental, vocals = fields.get("instrumental"), _first(fields, ("vocals", "vocal"))
    if isinstance(instrumental, bool):
        return not instrumental
    return vocals if isinstance(vocals, bool) else None


def _stated_language(fields: Mapping[str, Any]) -> str | None:
    """The language of the lyrics, if the client states it as a code such as `ja`; other values are ignored."""
    stated = _first(fields, _LANGUAGE_FIELDS)
    code = stated.strip().lower() if isinstance(stated, str) else ""
    return code if re.fullmatch(LANGUAGE_PATTERN, code) else None


def _tempo_or_key(name: Literal["bpm", "key"], clip: ClipInfo, parsed: ParsedMetadata) -> tuple[Any, Source | None]:
    """The value of the first source that has one, and that source."""
    stated = getattr(parsed, name)
    if stated is not None:
        return stated, "name" if name in parsed.from_name else "metadata"
    if name in parsed.unreadable:
        return None, None
    if clip.embedded.get(name) is not None:
        return clip.embedded[name], "embedded"
    estimated = _estimated(clip.analysis, name)
    return estimated, None if estimated is None else "analysis"


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


def _distinct(texts: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The comma-separated phrases of all texts with the text's source, without empty ones and repetitions."""
    found: dict[str, tuple[str, str]] = {}
    for text, source in texts:
        for phrase in (phrase.strip() for phrase in text.split(",")):
            if phrase:
                found.setdefault(phrase.casefold(), (phrase, source))
    return dict(found.values())
