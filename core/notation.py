"""Reads tempo, key and time signature as musicians, DJ software and other tools write them.

Metadata, file names and requests are read with it. A value with two possible readings is refused.
docs/preprocessing.md lists the spellings.
"""

from __future__ import annotations

import re
import reprlib
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from core.text import shown

MIN_BPM, MAX_BPM = 30, 300
SAME_BPM = 1.0  # tempos that differ by this or less are one tempo that was rounded
MAX_RANGE = 1.05  # a range whose ends have this ratio or less is read as its middle
BEATS_PER_BAR = {"2": 2, "3": 3, "4": 4, "6": 3}  # by time signature; a tempo counts three beats in a bar of 6/8
MAX_LENGTH = 100  # characters of the longest text that is read

T = TypeVar("T")

# What tools write for "unknown".
_NO_VALUE = {
    *("", "-", "–", "—", "?", "auto", "automatic", "default", "any", "unknown", "none", "null", "nil", "undefined"),
    *("n/a", "na", "nan", "tbd", "not set", "not specified", "unspecified"),
}


class Unreadable(ValueError):
    """A value that cannot be read. The message gives the reason, such as "more than one key"."""


class Notation(ABC, Generic[T]):
    """The notation of one quantity.

    Attributes:
        noun: what messages call the quantity.
        names: the fields that contain it, in lower case and without other characters than letters.
        inner: further names, for fields of an object that is the value of such a field.
        remedy: the end of an error message: values that a client may send.
    """

    noun: str
    names: tuple[str, ...]
    inner: tuple[str, ...] = ("value", "name")
    remedy: str

    @abstractmethod
    def parse(self, value: float | str) -> Sequence[Any]:
        """The parts in a number or a text, such as the note and the mode of a key. Raises Unreadable."""

    @abstractmethod
    def join(self, parts: Sequence[Any], complete: bool = True) -> T | None:
        """The value that these parts make up; None if there are none. Raises Unreadable.

        Args:
            complete: whether these are all parts that were sent; some may have been unreadable.
        """

    def read(self, value: Any) -> T | None:
        """The value in any JSON; None if it has none, as null, "" and "auto". Raises Unreadable."""
        return self.join(self.parts(value))

    def parts(self, value: Any) -> list[Any]:
        """The parts in a number, a text, the items of a list, or the fields of an object that have one of the names."""
        return [part for scalar in self._scalars(value) for part in self.parse(scalar)]

    def fields_of(self, fields: Mapping[str, Any], more: Sequence[str] = ()) -> dict[str, Any]:
        """The fields with one of the names, in any spelling, in the order of the names."""
        spelled = {re.sub(r"[^a-z]", "", str(name).lower()): name for name in fields}
        return {spelled[name]: fields[spelled[name]] for name in (*self.names, *more) if name in spelled}

    def nothing(self) -> Unreadable:
        return Unreadable(f"no {self.noun}")

    def several(self) -> Unreadable:
        return Unreadable(f"more than one {self.noun}")

    def _scalars(self, value: Any, depth: int = 3) -> Iterator[float | str]:
        if depth == 0:
            raise self.nothing()
        if isinstance(value, Mapping):
            fields = self.fields_of(value, self.inner)
            if not fields:
                raise self.nothing()
            for field in fields.values():
                yield from self._scalars(field, depth - 1)
        elif isinstance(value, list):
            for item in value:
                yield from self._scalars(item, depth - 1)
        elif isinstance(value, str):
            text = _plain(value)
            if len(text) > MAX_LENGTH:
                raise self.nothing()
            if text.casefold() not in _NO_VALUE:
                yield text
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield value
        elif value is not None:
            raise self.nothing()


class _Tempo(Notation[float]):
    noun = f"tempo from {MIN_BPM} to {MAX_BPM}"
    names = ("bpm", "tempo", "beatsperminute", "tempobpm", "bpmtempo", "tbpm")
    remedy = f'send beats per minute from {MIN_BPM} to {MAX_BPM}, such as 140, 92.5 or "92 bpm"'

    _NOISE = re.compile(
        r"b\.?p\.?m\.?(?![a-z])|(?:\bbeats?\s*)?(?:\bper|/|\ba)\s*min(?:ute)?\b\.?|\b(?:tempo|mm|m\.m\.)(?![a-z])"
        r"|\b(?:approx(?:imately)?|about|around|roughly|circa|est|ca?)\b\.?"
        r"|(?:♩|\bquarter(?: notes?)?\b|\bq\b)\s*=|[~≈≃@:=()\[\]]"
    )
    _NUMBER = r"([0-9]{1,4}(?:[.,][0-9]{1,6})?)"
    _TEXT = re.compile(rf"{_NUMBER}(?:\s*(?:-|to|\.\.)\s*{_NUMBER})?")

    def parse(self, value: float | str) -> Sequence[float]:
        if isinstance(value, str):
            pieces = re.split(r"[;/|]|,\s", self._NOISE.sub(" ", value.casefold()))
            return [tempo for piece in pieces for tempo in self._piece(piece.strip())]
        if value == 0:  # DJ software writes 0 before it has analysed a file
            return []
        if not MIN_BPM <= value <= MAX_BPM:
            raise self.nothing()
        return [float(value)]

    def join(self, parts: Sequence[float], complete: bool = True) -> float | None:
        if parts and max(parts) - min(parts) > SAME_BPM:
            raise self.several()
        return parts[0] if parts else None

    def _piece(self, text: str) -> Sequence[float]:
        found = self._TEXT.fullmatch(text)
        if found is None:
            raise self.nothing()
        ends = [tempo for number in found.groups() if number for tempo in self._number(number)]
        if len(ends) < 2:
            return ends
        if max(ends) > MAX_RANGE * min(ends):
            raise self.several()
        return [sum(ends) / 2]

    def _number(self, text: str) -> Sequence[float]:
        # "60,140" is two tempos or one with decimals.
        whole, _, fraction = text.partition(",")
        if len(fraction) == 3 and all(MIN_BPM <= int(part) <= MAX_BPM for part in (whole, fraction)):
            raise self.several()
        return self.parse(float(text.replace(",", ".")))


def whole(bpm: float) -> int:
    """The tempo rounded to a whole number, as models take it."""
    return int(bpm + 0.5)


class KeyPart(NamedTuple):
    """A key or a part of it.

    Attributes:
        note: such as "A", "a" or "Bb"; None if it is missing.
        mode: major or minor; None if it is missing.
    """

    note: str | None
    mode: str | None


_SEMITONES = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_ACCIDENTALS = {"": 0, "#": 1, "b": -1}
# The Camelot wheel from 1 to 12. Open Key counts in the same order, from C major and A minor.
_CAMELOT = {
    "minor": ("Ab", "Eb", "Bb", "F", "C", "G", "D", "A", "E", "B", "F#", "Db"),
    "major": ("B", "F#", "Db", "Ab", "Eb", "Bb", "F", "C", "G", "D", "A", "E"),
}
_MODES = {
    "minor": (*("minor", "min", "mi", "moll", "mol", "minore", "mineur", "menor", "aeolian", "小调", "小調"),),
    "major": ("major", "maj", "ma", "dur", "maggiore", "majeur", "mayor", "maior", "ionian", "大调", "大調"),
}
_MODE = {word: mode for mode, words in _MODES.items() for word in words} | {"m": "minor", "M": "major"}
_GERMAN_MODES = ("dur", "moll", "mol")
_GERMAN = {
    **{"cis": "C#", "dis": "D#", "eis": "E#", "fis": "F#", "gis": "G#", "ais": "A#", "his": "B#", "h": "B"},
    **{"ces": "Cb", "des": "Db", "es": "Eb", "fes": "Fb", "ges": "Gb", "as": "Ab"},
}
_SUNG = {"do": "C", "ut": "C", "re": "D", "ré": "D", "mi": "E", "fa": "F", "sol": "G", "la": "A", "si": "B"}
_ACCIDENTAL = dict.fromkeys(("#", "sharp", "diesis", "dièse", "sostenido", "sustenido"), "#") | dict.fromkeys(
    ("b", "flat", "bemolle", "bémol", "bemol"), "b"
)


def pitch(note: str) -> int:
    """The pitch class of a note such as "A", "a" or "Bb", from 0 (C) to 11."""
    return (_SEMITONES[note[0].upper()] + _ACCIDENTALS[note[1:]]) % 12


def _any(words: Iterable[str]) -> str:
    return f"(?i:{'|'.join(sorted(words, key=len, reverse=True))})"


class _Key(Notation[str]):
    noun = "major or minor key"
    names = (
        *("key", "keyscale", "musicalkey", "initialkey", "keysignature", "songkey", "keyname", "tonality", "tkey"),
        *("keyof", "keykey", "keytype", "keyquality", "modality"),
        *("camelot", "camelotkey", "openkey", "tonic", "root", "rootnote", "scale", "mode", "keymode"),
    )
    inner = ("value", "name", "type", "quality")
    remedy = 'send one such as "A minor", "F#m", "Bb major" or "8A"'

    _LETTER_MODE = rf"(m|M|{_any(_MODE.keys() - {'m', 'M'})})"
    _SIGN = rf"(b| ?(?:#|{_any(_ACCIDENTAL.keys() - {'#', 'b'})}))"
    _LATIN = re.compile(rf"([A-Ga-g]){_SIGN}?(?: ?{_LETTER_MODE})?")
    _IN_GERMAN = re.compile(rf"({_any(_GERMAN)})()(?: {_LETTER_MODE})?")
    _AS_SUNG = re.compile(rf"({_any(_SUNG)}){_SIGN}? ?{_LETTER_MODE}")
    _WHEEL = re.compile(r"(?<!\S)0?(1[0-2]|[1-9]) ?([ABabmd])(?!\S)")
    _NOISE = re.compile(
        r"\b(?:in|the|key|of|scale|mode|tonality|camelot|open|natural|harmonic|melodic)\b", re.IGNORECASE
    )

    def parse(self, value: float | str) -> Sequence[KeyPart]:
        if not isinstance(value, str):
            raise self.nothing()
        if re.match(r"in a (minor|major)\b", value):  # "a" may be the article
            raise self.several()
        pieces = re.split(r"[/|,;()\[\]]|\s-\s|\bor\b", self._WHEEL.sub(r"/\1\2/", self._NOISE.sub(" ", value)))
        return [self._piece(piece.strip()) for piece in pieces if piece.strip()]

    def fields_of(self, fields: Mapping[str, Any], more: Sequence[str] = ()) -> dict[str, Any]:
        """The fields, except for a lone "mode" that is no key's, such as that of a tool."""
        found = super().fields_of(fields, more)
        if len(found) == 1 and "mode" in found:
            try:
                self.parts(found["mode"])
            except Unreadable:
                return {}
        return found

    def join(self, parts: Sequence[KeyPart], complete: bool = True) -> str | None:
        notes = [part.note for part in parts if part.note]
        modes = {part.mode for part in parts if part.mode}
        if not parts:
            return None
        if not notes:
            raise self.nothing()
        note = notes[0]
        # A capital letter alone is a major key, as in ID3's TKEY; a small one may mean a minor key or just be careless.
        unsure = not modes and (note[0].islower() or not complete)
        if unsure or len(modes) > 1 or len(set(map(pitch, notes))) > 1:
            raise self.several()
        return f"{note[0].upper()}{note[1:]} {modes.pop() if modes else 'major'}"

    def _piece(self, text: str) -> KeyPart:
        if wheel := self._WHEEL.fullmatch(text):
            return self._on_wheel(int(wheel[1]), wheel[2])
        if text[-1] in "+-":  # a chord
            raise self.nothing()
        text = " ".join(re.split(r"[-_:=.\s]+", text)).strip()
        if text.casefold() in _MODE and len(text) > 1:
            return KeyPart(None, _MODE[text.casefold()])
        if found := self._LATIN.fullmatch(text):
            letter, sign, mode = found.groups()
            if letter in "Bb" and not sign and (mode or "").casefold() in _GERMAN_MODES:
                raise self.several()  # Bb in German, B elsewhere
            return self._part(letter, sign, mode)
        if found := self._IN_GERMAN.fullmatch(text):
            name, sign, mode = found.groups()
            if name.casefold() == "h" and (mode or "").casefold() not in _GERMAN_MODES:
                raise self.nothing()
            note = _GERMAN[name.casefold()]
            return self._part(note.lower() if name[0].islower() else note, sign, mode)
        if found := self._AS_SUNG.fullmatch(text):
            name, sign, mode = found.groups()
            return self._part(_SUNG[name.casefold()], sign, mode)
        raise self.nothing()

    def _part(self, note: str, sign: str | None, mode: str | None) -> KeyPart:
        name = None if mode is None else _MODE.get(mode) or _MODE[mode.casefold()]
        return KeyPart(note + _ACCIDENTAL[sign.strip().casefold()] if sign else note, name)

    def _on_wheel(self, hour: int, side: str) -> KeyPart:
        mode = "minor" if side in "Aam" else "major"
        return KeyPart(_CAMELOT[mode][(hour + (6 if side in "md" else -1)) % 12], mode)


_METERS = {"2/4": "2", "3/4": "3", "4/4": "4", "6/8": "6", "common": "4", "c": "4"} | {each: each for each in "2346"}
_NUMBERS = {"two": "2", "three": "3", "four": "4", "six": "6", "eight": "8"}


class _TimeSignature(Notation[str]):
    noun = "time signature of 2/4, 3/4, 4/4 or 6/8"
    names = ("timesignature", "timesig", "meter", "metre", "beatsperbar")
    remedy = 'send 2, 3, 4 or 6, or such as "4/4"'

    _NOISE = re.compile(r"\b(?:time|signature|met(?:re|er)|in|beats?|(?:per|a|to the) bar)\b")

    def parts(self, value: Any) -> list[str]:
        """The parts; numerator and denominator may also be two items of a list or two fields of an object."""
        if isinstance(value, list) and len(value) == 2 and all(str(item).isdigit() for item in value):
            value = f"{value[0]}/{value[1]}"
        if isinstance(value, Mapping):
            for pair in (("numerator", "denominator"), ("beats", "beat_type"), ("top", "bottom"), ("upper", "lower")):
                if value.keys() >= set(pair):
                    value = "/".join(str(value[name]) for name in pair)
                    break
        return super().parts(value)

    def parse(self, value: float | str) -> Sequence[str]:
        if value == 0:
            return []
        if not isinstance(value, str):
            if value not in (2, 3, 4, 6):
                raise self.nothing()
            return [str(int(value))]
        pieces = re.split(r"[,;|()]|\b(?:or|and|then)\b", value.casefold().replace("\N{FRACTION SLASH}", "/"))
        return [self._piece(piece) for piece in pieces if piece.strip()]

    def join(self, parts: Sequence[str], complete: bool = True) -> str | None:
        if len(set(parts)) > 1:
            raise self.several()
        return parts[0] if parts else None

    def _piece(self, text: str) -> str:
        text = re.sub(r"[a-z]+", lambda word: _NUMBERS.get(word[0], word[0]), self._NOISE.sub(" ", text))
        text = re.sub(r"^(\d+)\s*(?:[-/:\\]|\bover\b|\s)\s*(\d+)$", r"\1/\2", text.strip(" :=()."), flags=re.ASCII)
        known = _METERS.get(re.sub(r"\.0+$", "", text))
        if known is None:
            raise self.nothing()
        return known


def quoted(value: Any) -> str:
    """A client's value as messages repeat it: printable, and MAX_LENGTH characters at most."""
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value[:3]):
        text = ", ".join(f'"{item}"' for item in value[:3]) + ", …" * (len(value) > 3)
    else:
        text = f'"{value}"' if isinstance(value, str) else reprlib.repr(value)
    return shown(text, MAX_LENGTH)


def _plain(text: str) -> str:
    """The text with one form of each character, and single spaces."""
    plain = unicodedata.normalize("NFKC", text).translate({ord("♯"): "#", ord("♭"): "b", ord("♮"): ""})
    return " ".join(re.sub("[‐-―−]", "-", plain).split())


TEMPO = _Tempo()
KEY = _Key()
TIME_SIGNATURE = _TimeSignature()
