"""What a twin came to, in a word, a sentence and an advice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from training.evaluation.held_out import Comparison
from training.evaluation.split import FEWEST

Word = Literal["learned", "weak", "overfitted", "too little data"]

# Less music than this is an example, not a style.
LEAST_SECONDS = 20.0
# A gain below this is not heard.
_LEAST_GAIN = 0.005
# Of the best gain on the way so much may be lost again by the end.
_MAX_LOST = 0.3
_FORGOTTEN = 0.1


@dataclass(frozen=True)
class Verdict:
    verdict: Word
    sentence: str
    advice: str


def judge(
    *,
    songs: int,
    seconds: float,
    noise: bool,
    held_out: Comparison | None,
    trained_on: Comparison | None,
    other: Comparison | None,
    curve: Sequence[tuple[int, float]],
) -> Verdict:
    """The verdict.

    Args:
        songs: how many different ones were sent.
        seconds: of music trained on.
        noise: whether most of it is noise.
        held_out: on songs that were set aside, None if none were.
        trained_on: on what training saw.
        other: on other music.
        curve: (step, loss on the songs that were set aside).
    """
    if noise:
        return Verdict(
            "too little data",
            "What was sent is noise: it has neither tones nor rhythm, so there is no style in it to learn.",
            "Send music.",
        )
    if seconds < LEAST_SECONDS:
        return Verdict(
            "too little data",
            f"{seconds:.0f} s of music is too little to tell a style from a single sound.",
            f"Send at least {FEWEST} songs, some minutes in all.",
        )
    if held_out is None:
        known = "" if trained_on is None else f" On what it was trained on it is {_percent(trained_on.gain)} better."
        return Verdict(
            "too little data",
            f"With {songs} {'song' if songs == 1 else 'songs'} none could be set aside, so that nobody can say whether "
            f"the twin learned a style or remembers these pieces.{known}",
            f"Send at least {FEWEST} different songs; ten or more make a good twin.",
        )
    advice = _about_other(other)
    best = min(curve, key=lambda point: point[1], default=None)
    if best and curve and _lost(curve, best) > _MAX_LOST:
        return Verdict(
            "overfitted",
            f"On songs it never heard the twin was best at step {best[0]} and got worse until step {curve[-1][0]}.",
            f"Train again with max_steps={max(best[0], 1)}, or send more songs.",
        )
    certain = held_out.low is not None and held_out.low > 0
    if certain and held_out.gain >= _LEAST_GAIN:
        return Verdict(
            "learned",
            f"On {_sample(held_out)} it never heard the twin is {_percent(held_out.gain)} better than the base model "
            f"({_interval(held_out)}).",
            advice or "Use it; raise or lower lora_scale to taste.",
        )
    if trained_on is not None and trained_on.gain >= _LEAST_GAIN and held_out.gain < trained_on.gain / 4:
        return Verdict(
            "overfitted",
            f"The twin is {_percent(trained_on.gain)} better on what it was trained on, but {_percent(held_out.gain)} "
            f"on songs it never heard ({_interval(held_out)}).",
            "Send more songs, or train with fewer steps or a smaller rank.",
        )
    return Verdict(
        "weak",
        f"On {_sample(held_out)} it never heard the twin differs from the base model by {_percent(held_out.gain)} "
        f"({_interval(held_out)}), which may be chance or too little to hear.",
        "Train with more steps or a higher learning_rate, or send more songs of one style.",
    )


def _lost(curve: Sequence[tuple[int, float]], best: tuple[int, float]) -> float:
    """The part of the best gain that the end has lost again."""
    first, last = curve[0][1], curve[-1][1]
    return (last - best[1]) / (first - best[1]) if first > best[1] else float(last > first * (1 + _LEAST_GAIN))


def _about_other(other: Comparison | None) -> str:
    if other is None or other.gain > -_FORGOTTEN:
        return ""
    return (
        f"It makes other music {_percent(-other.gain)} worse: use a lora_scale below 1 for prompts far from this style."
    )


def _sample(comparison: Comparison) -> str:
    return f"{comparison.count} {comparison.sample if comparison.sample == 'songs' else 'segments of songs'}"


def _percent(part: float) -> str:
    return f"{100 * part:.1f} %"


def _interval(comparison: Comparison) -> str:
    if comparison.low is None or comparison.high is None:
        return "from a single sample, so without an interval"
    return f"95 % interval {100 * comparison.low:.1f} to {100 * comparison.high:.1f} %"
