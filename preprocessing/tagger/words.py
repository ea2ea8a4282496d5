"""From the networks' probabilities to the words of a caption.

The networks' probabilities are low even for what is plainly there, as few listeners name it: each word has a threshold
of its own, about twice the mean probability of its tag over all kinds of music.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from preprocessing.captions import Kind

Probabilities = Mapping[str, float]  # by network and tag, such as "mtt strings"

MAX_WORDS: dict[Kind, int] = {"genre": 2, "instrument": 3, "mood": 2}
# Sums of `_VOICES`. Of instrumental music 95 % is below the first and 99 % below the second.
MAX_INSTRUMENTAL, MIN_VOCAL = 0.45, 0.8
MIN_CHOIR = 0.2


@dataclass(frozen=True)
class Word:
    text: str
    kind: Kind


@dataclass(frozen=True)
class Description:
    """The description of a segment by the tagger.

    Attributes:
        words: genre, instruments, mood and tempo, then voice; of each kind the surest first.
        vocal: whether there is a voice; None if that is not sure.
    """

    words: tuple[Word, ...]
    vocal: bool | None


SILENT = Description((), None)

# The thresholds of each word: one tag that reaches its threshold is enough.
_THRESHOLDS: dict[Kind, dict[str, dict[str, float]]] = {
    "genre": {
        "classical": {"mtt classical": 0.25, "mtt opera": 0.25},
        "electronic": {"mtt electronic": 0.3, "msd electronic": 0.3},
        "techno": {"mtt techno": 0.35},
        "house": {"msd House": 0.2},
        "dance": {"mtt dance": 0.2, "msd dance": 0.25},
        "electro": {"msd electro": 0.2},
        "ambient": {"mtt ambient": 0.3, "msd ambient": 0.3},
        "new age": {"mtt new age": 0.15},
        "hip hop": {"msd Hip-Hop": 0.2},
        "r&b": {"msd rnb": 0.15},
        "soul": {"msd soul": 0.2},
        "funk": {"msd funk": 0.2},
        "jazz": {"msd jazz": 0.3},
        "blues": {"msd blues": 0.2},
        "folk": {"msd folk": 0.2},
        "country": {"mtt country": 0.2, "msd country": 0.2},
        "indian": {"mtt indian": 0.3},
        "pop": {"mtt pop": 0.25, "msd pop": 0.25},
        "rock": {"mtt rock": 0.3, "msd rock": 0.3},
        "hard rock": {"msd hard rock": 0.2},
        "progressive rock": {"msd Progressive rock": 0.2},
        "indie": {"msd indie": 0.3},
        "punk": {"msd punk": 0.2},
        "metal": {"mtt metal": 0.2, "msd metal": 0.2},
        "experimental": {"msd experimental": 0.25},
    },
    "instrument": {
        "strings": {"mtt strings": 0.25, "mtt cello": 0.25},
        "violin": {"mtt violin": 0.3},
        "flute": {"mtt flute": 0.25},
        "harp": {"mtt harp": 0.25},
        "harpsichord": {"mtt harpsichord": 0.25},
        "piano": {"mtt piano": 0.25},
        "guitar": {"mtt guitar": 0.35, "msd guitar": 0.2},
        "acoustic": {"msd acoustic": 0.2},
        "sitar": {"mtt sitar": 0.25},
        "drums": {"mtt drums": 0.25},
        "synth": {"mtt synth": 0.2},
    },
    "mood": {
        "slow": {"mtt slow": 0.25},
        "fast": {"mtt fast": 0.25},
        "quiet": {"mtt quiet": 0.15, "mtt soft": 0.2},
        "loud": {"mtt loud": 0.2},
        "mellow": {"msd Mellow": 0.15},
        "chill": {"msd chillout": 0.25, "msd chill": 0.15},
        "happy": {"msd happy": 0.15},
        "sad": {"msd sad": 0.15},
        "beautiful": {"msd beautiful": 0.15},
        "weird": {"mtt weird": 0.2},
    },
}
_FEMALE = ("mtt female", "mtt woman", "mtt female vocal", "mtt female voice")
_MALE = ("mtt male", "mtt man", "mtt male vocal", "mtt male voice")
_CHOIR = ("mtt choir", "mtt choral")
_VOICES = (*_FEMALE, *_MALE, *_CHOIR, "mtt vocal", "mtt vocals", "mtt singing", "mtt voice", "mtt opera")


def describe_probabilities(probabilities: Probabilities) -> Description:
    """The words whose thresholds are reached, and whether there is a voice."""
    words: list[Word] = []
    for kind, thresholds in _THRESHOLDS.items():
        scores = {
            text: max(probabilities[tag] / threshold for tag, threshold in tags.items())
            for text, tags in thresholds.items()
        }
        best = sorted((text for text, score in scores.items() if score >= 1), key=scores.__getitem__, reverse=True)
        words += [Word(text, kind) for text in best[: MAX_WORDS[kind]]]
    vocal = _is_vocal(probabilities)
    if vocal is not None:
        words.append(Word(_voice(probabilities) if vocal else "no vocals", "voice"))
    return Description(tuple(words), vocal)


def _is_vocal(probabilities: Probabilities) -> bool | None:
    voices = _sum(probabilities, _VOICES)
    return True if voices >= MIN_VOCAL else False if voices < MAX_INSTRUMENTAL else None


def _voice(probabilities: Probabilities) -> str:
    """The kind of voice."""
    female, male = _sum(probabilities, _FEMALE), _sum(probabilities, _MALE)
    if max(probabilities[tag] for tag in _CHOIR) >= MIN_CHOIR:
        return "choir"
    return "female vocals" if female > 2 * male else "male vocals" if male > 2 * female else "vocals"


def _sum(probabilities: Probabilities, tags: tuple[str, ...]) -> float:
    return sum(probabilities[tag] for tag in tags)
