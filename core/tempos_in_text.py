"""Finds tempos in free text, such as a file's name or a prompt."""

from __future__ import annotations

import re
from collections.abc import Iterator

from core.notation import MAX_BPM, MIN_BPM

_UNIT = r"(?:b\.?p\.?m|beats[ _-]per[ _-]minute)"
# A number before the word, as in "87.50bpm", "92 BPM", "92-94bpm"; or after it, as in "bpm172", "tempo_90".
# A dash after another dash is a separator, as in "2026-11-30-140bpm".
_BEFORE = re.compile(
    rf"(?<![0-9])(?:(?<!-)([0-9]{{1,3}})([-_ ]))?((?:[0-9]{{1,4}}[.,])?[0-9]{{1,4}})[ _.-]?{_UNIT}(?![a-z])",
    re.IGNORECASE,
)
_AFTER = re.compile(r"(?<![a-z])(?:bpm|tempo)[ _.:=-]{0,2}([0-9]{2,3}(?:[.,][0-9]{1,3})?)(?![0-9])", re.IGNORECASE)


def tempos_in(text: str) -> Iterator[str]:
    """The tempos in a text, as they are written there."""
    rest = text
    for found in _BEFORE.finditer(text):
        first, divider, number = found.groups()
        if not _is_tempo(number):
            number = re.split("[.,]", number)[-1]  # "1.140bpm": a version, then a tempo
        if _is_tempo(number):
            # "92-94bpm" is a range, and "87_50bpm" may have been "87.50bpm".
            is_range = first and _is_tempo(first) and (divider == "-" or number in ("50", "75"))
            yield f"{first}-{number}" if is_range else number.replace(".", ",")
            rest = rest.replace(found[0], " " * len(found[0]), 1)
    for found in _AFTER.finditer(rest):
        if _is_tempo(found[1]):
            yield found[1].replace(".", ",")


def tempo_spans(text: str) -> Iterator[tuple[int, int]]:
    """The start and end of each number with a tempo's unit, whether or not it is in the range of tempos."""
    for pattern in (_BEFORE, _AFTER):
        for found in pattern.finditer(text):
            yield found.span()


def _is_tempo(number: str) -> bool:
    return MIN_BPM <= float(number.replace(",", ".")) <= MAX_BPM
