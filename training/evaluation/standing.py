"""Where a twin stands between the base model and the producer's music, by each measure of the report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from training.evaluation import ratings
from training.evaluation.ratings import Rating

# If the base model differs from the producer's music by a smaller share, no way between them can be told.
_MIN_DIFFERENCE = 0.05

_NAMES = {
    "own": "your own music",
    "held_out": "your held-out songs",
    "codec": "your music through the model's codec",
    "with_twin": "with the twin",
    "without": "without it, from the same prompts",
    "other_music": "other music",
}
_YARDSTICKS = {"own": "the goal", "without": "the start", "other_music": "to compare"}


@dataclass(frozen=True)
class Row:
    """One measured value.

    Attributes:
        low, high: its 95 % interval; None if there is none.
        rating: None for a yardstick, which `note` explains.
    """

    name: str
    value: float
    low: float | None
    high: float | None
    rating: Rating | None
    note: str


@dataclass(frozen=True)
class Standing:
    """One measure.

    Attributes:
        title: what is measured.
        explanation: how to read it.
        way: the twin's position: 0 is the base model, 1 the producer's music; None if these hardly differ, or are not
            measured.
        low, high: the interval of `way`.
        codec: the position of the producer's music through the codec.
        rows: the values.
    """

    title: str
    explanation: str
    way: float | None
    low: float | None
    high: float | None
    codec: float | None
    rating: Rating | None
    rows: list[Row]


def standings(report: Mapping[str, Any]) -> list[Standing]:
    """The measures that the report has. A report of an earlier version has none."""
    return list(_standings(report))


def _standings(report: Mapping[str, Any]) -> Iterator[Standing]:
    resemblance = report.get("resemblance") or {}
    if isinstance(resemblance.get("with_twin"), Mapping):
        explanation = f"Distance from your music, lower is nearer: {resemblance['space']}."
        # One song has no distance from other own songs; that of music from itself is 0.
        own = (resemblance.get("own") or {"value": 0.0})["value"]
        yield _standing("How it sounds", explanation, resemblance, own, resemblance.get("nearer"))
    heard = report.get("heard") or {}
    for name, title, explanation in (
        ("pulse", "Pulse", "How regular the beat is, 0 to 1."),
        ("persistence", "Tones that last", "The share of tones that last a quarter of a second, above chance."),
    ):
        if measure := heard.get(name):
            own = measure["own"] and measure["own"]["value"]
            explanation += " It should be as in your music."
            yield _standing(title, explanation, measure, own, measure.get("difference"))


def _standing(
    title: str, explanation: str, measure: Mapping[str, Any], own: float | None, difference: Mapping[str, Any] | None
) -> Standing:
    """One measure.

    Args:
        own: the value of the producer's music.
        difference: between the pieces with and without the twin, pair by pair; None in reports that lack it.
    """
    values = {name: measure[name] for name in _NAMES if measure.get(name)}
    base = values.get("without", {}).get("value")

    def position(value: float | None) -> float | None:
        if value is None or own is None or base is None:
            return None
        apart = own - base
        return (value - base) / apart if abs(apart) > _MIN_DIFFERENCE * max(abs(own), abs(base)) else None

    ways = {name: position(entry["value"]) for name, entry in values.items()}
    twin, codec = ways.get("with_twin"), ways.get("codec")
    bounds = sorted(
        bound
        for bound in (position(values.get("with_twin", {}).get(end)) for end in ("low", "high"))
        if bound is not None
    )
    low, high = bounds if len(bounds) == 2 else (None, None)
    goal = codec if codec is not None and 0 < codec < 1 else 1.0
    rated = {name: ratings.way(ways[name] or 0.0) for name in ("held_out", "codec") if ways.get(name) is not None}
    if twin is not None:
        certain = low is None or low > 0
        if difference:
            certain = not difference["low"] <= 0 <= difference["high"]
        rated["with_twin"] = ratings.way(twin, goal, certain)
    rows = [
        Row(
            _NAMES[name],
            entry["value"],
            entry.get("low"),
            entry.get("high"),
            rated.get(name),
            _YARDSTICKS.get(name, "cannot be told"),
        )
        for name, entry in values.items()
    ]
    return Standing(title, explanation, twin, low, high, codec, rated.get("with_twin"), rows)
