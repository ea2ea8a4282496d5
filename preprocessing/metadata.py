"""Tempo, key and time signature that the client states for a file, in its metadata or in its name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from core.notation import KEY, TEMPO, TIME_SIGNATURE, Notation, Unreadable, quoted
from core.tempos_in_text import tempo_spans, tempos_in
from core.text import shown

FIELDS: dict[str, Notation[Any]] = {"bpm": TEMPO, "key": KEY, "time_signature": TIME_SIGNATURE}

_NAME = "the file's name"

_MODE = r"[ _-]?(?i:min(?:or)?|maj(?:or)?|moll|dur)"
_SIGN = r"(?:[#♯b♭]|[ _-]?(?i:sharp|flat))"
# Lower-case notes need a sign: "a minor" may be words, and "ebm" is a genre. A digit after it makes it a chord.
_KEY = re.compile(
    rf"(?<![A-Za-z#♯])([A-G]{_SIGN}?{_MODE}|[a-g]{_SIGN}{_MODE}|[A-G][#♯b♭]m|[a-g][#♯]m)(?![A-Za-z]|[0-9]{{1,2}}(?![0-9]))"
)
# "Cm" is a key only beside a tempo. "Am" may be a word, unless it is the last part of the name.
_KEY_AFTER = re.compile(r"[ _.(\[-]{0,3}([B-G]m(?![A-Za-z0-9])|Am(?=[)\]]?(?:\.[A-Za-z0-9]{2,4})?$))")
_KEY_BEFORE = re.compile(r"(?:^|[ _.(\[-])([B-G]m)[ _.)\]-]{0,3}$")


@dataclass(frozen=True)
class ParsedMetadata:
    """The musical metadata that the client states for a file.

    Attributes:
        bpm: with decimals.
        key: such as `A minor`.
        time_signature: one of 2 3 4 6.
        from_name: the fields above that the file's name states, and not the metadata.
        unreadable: the fields above that the client filled with an unreadable value; nothing else may fill them.
        warnings: one sentence for each value that is unreadable or contradicted.
    """

    bpm: float | None
    key: str | None
    time_signature: str | None
    from_name: frozenset[str]
    unreadable: frozenset[str]
    warnings: tuple[str, ...]


def parse_metadata(metadata: Mapping[str, Any], path: str = "") -> ParsedMetadata:
    """Read the client's metadata, and the name in `path` (a path or URL) for what the metadata leaves out."""
    name = path.rpartition("/")[2]
    if "://" in path:
        name = unquote(name)
    in_name = {"bpm": list(tempos_in(name)), "key": list(_keys(name))}
    values: dict[str, Any] = {}
    from_name, unreadable, warnings = set(), set(), []
    for field, notation in FIELDS.items():
        value, problems, is_named = _field(notation, notation.fields_of(metadata), in_name.get(field, []))
        values[field] = value
        if is_named:
            from_name.add(field)
        if problems and value is None:
            unreadable.add(field)
        outcome = f"{value:g} counts" if isinstance(value, float) else f"{value} counts" if value else "it stays empty"
        warnings += [f"{problem}; {outcome}" for problem in problems]
    return ParsedMetadata(
        **values, from_name=frozenset(from_name), unreadable=frozenset(unreadable), warnings=tuple(warnings)
    )


def _field(notation: Notation[Any], given: Mapping[str, Any], in_name: list[str]) -> tuple[Any, list[str], bool]:
    """The value in the metadata, else in the name; the problems in either or between them; whether the name has it."""
    value, problems = _read(notation, given)
    named, problems_in_name = _read(notation, {_NAME: in_name})
    if value is None:
        return named, problems + problems_in_name, named is not None
    if named is not None and not problems:
        problems = _read(notation, {**given, _NAME: in_name})[1]
    return value, problems, False


def _read(notation: Notation[Any], sources: Mapping[str, Any]) -> tuple[Any, list[str]]:
    """The value that several fields give together, and the problems in them."""
    parts, problems = [], []
    read: dict[str, Any] = {}
    for name, value in sources.items():
        try:
            parts += notation.parts(value)
            read[name] = value
        except Unreadable as reason:
            problems.append(_problem({name: value}, reason))
    try:
        return notation.join(parts, complete=not problems), problems
    except Unreadable as reason:
        return None, [*problems, _problem(read, reason)]


def _problem(sources: Mapping[str, Any], reason: Unreadable) -> str:
    names, values = ", ".join(map(shown, sources)), ", ".join(map(quoted, sources.values()))
    return f"{names}: {reason} can be read from {values}"


def _keys(name: str) -> Iterator[str]:
    """The keys in a file's name, as they are written there."""
    for found in _KEY.finditer(name):
        yield found[0]
    for start, end in tempo_spans(name):
        if key := _KEY_AFTER.match(name, end) or _KEY_BEFORE.search(name[:start]):
            yield key[1]
