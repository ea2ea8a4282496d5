"""Content negotiation of /generate: JSON, or the audio itself in a format of `Accept` (RFC 9110, section 12.5.1)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from contract import OutputFormat

# Answers are sent as the first of each; the others are older names of it.
_TYPES: dict[OutputFormat | None, tuple[str, ...]] = {
    None: ("application/json",),
    "wav": ("audio/wav", "audio/x-wav", "audio/wave", "audio/vnd.wave"),
    "mp3": ("audio/mpeg", "audio/mp3", "audio/x-mp3", "audio/x-mpeg"),
    "flac": ("audio/flac", "audio/x-flac"),
    "opus": ("audio/ogg", "audio/opus"),
    "m4a": ("audio/mp4", "audio/m4a", "audio/x-m4a"),
}
_MAX_LENGTH = 2_000  # characters of the header that are read
_MEMBER = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*")+')
_PARAMETER = re.compile(r';\s*([^\s;="]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^\s;"]*)\s*')
_WEIGHT = re.compile(r"0?\.\d{1,3}|[01](?:\.\d{0,3})?")


@dataclass(frozen=True)
class _Range:
    """A media range of `Accept`, such as `audio/*;q=0.5`; `codecs` are in lower case."""

    type: str
    subtype: str
    weight: float
    codecs: str | None

    @property
    def breadth(self) -> int:
        """0 for a type that is named, 1 for `audio/*`, 2 for `*/*`."""
        return (self.type == "*") + (self.subtype == "*")

    def covers(self, media_type: str) -> bool:
        kind, _, subtype = media_type.partition("/")
        return self.type in ("*", kind) and self.subtype in ("*", subtype)


def audio_format(accept: str, output_format: OutputFormat | None) -> OutputFormat | None:
    """The format in which to answer the audio itself; None to answer JSON.

    The format with the highest weight is answered; among equals one that is named goes before one that a wildcard
    covers, then the first in the header, then JSON. If nothing acceptable can be served, JSON is answered.

    Args:
        accept: the header's value; several headers are joined with commas.
        output_format: of the request's body; it goes before the audio format that `Accept` names.
    """
    ranges = list(_ranges(accept[:_MAX_LENGTH]))
    ranks = {each: rank for each in _TYPES if (rank := _rank(each, ranges)) is not None}
    if not ranks:
        return None
    best = min(ranks.values())
    # `audio/*` covers all formats alike; WAV is the first of them.
    found = next(each for each in _TYPES if ranks.get(each) == best)
    return found and (output_format or found)


def _rank(output_format: OutputFormat | None, ranges: list[_Range]) -> tuple[float, int, int] | None:
    """The format's rank, the lowest being the best; None if it is not acceptable."""
    names = _TYPES[output_format]
    covering = [
        (each.breadth, place, each)
        for place, each in enumerate(ranges)
        if any(each.covers(name) for name in names) and (output_format != "opus" or each.codecs in (None, "opus"))
    ]
    if not covering:
        return None
    breadth, place, nearest = min(covering, key=lambda one: one[:2])
    return (-nearest.weight, breadth, place) if nearest.weight else None


def _ranges(accept: str) -> Iterator[_Range]:
    """The media ranges of the header, without malformed ones."""
    for member in _MEMBER.findall(accept):
        name, _, rest = member.partition(";")
        kind, slash, subtype = name.strip().lower().partition("/")
        parameters = {key.lower(): value.strip('"') for key, value in _PARAMETER.findall(f";{rest}" if rest else "")}
        weight = parameters.get("q", "1")
        if kind and slash and subtype and not (kind == "*" != subtype) and _WEIGHT.fullmatch(weight):
            codecs = parameters.get("codecs")
            yield _Range(kind, subtype, min(float(weight), 1), codecs and codecs.strip().lower())
