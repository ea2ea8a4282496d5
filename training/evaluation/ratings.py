"""A plain word for each number of the report, "good", "fair" or "bad", with the thresholds that it is judged by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from preprocessing.conditional_logit import MIN_CONFIDENCE
from training.evaluation.held_out import MIN_SONGS

Word = Literal["good", "fair", "bad"]

# The verdict has the same thresholds. They are here since the front, which renders the page, must not import torch.

# Less music than this shows a sound, not a style.
MIN_SECONDS = 20.0
# A smaller gain is not audible.
MIN_GAIN = 0.005
# A loss on other music that is higher by this share is worth a warning.
MAX_FORGOTTEN, _MAX_SLIGHTLY_FORGOTTEN = 0.1, 0.05
# Shares of the best held-out gain that are lost again by the last step.
MAX_LOST_SHARE, _MAX_SLIGHTLY_LOST_SHARE = 0.3, 0.1
_ENOUGH_SONGS, _ENOUGH_SECONDS = 10, 180.0
_SURE = 0.8
_GOOD_WAY = 0.5
_MIN_PREDICTED = 0.01

GAIN_RULE = "good: at least 0.5 %; fair: above 0"
CERTAINTY_RULE = "good: stated, or at least 80 % sure with no second candidate; fair: at least 50 % sure; bad: not used"
DESCRIPTION_RULE = "good: stated, or at least two words; fair: one word; bad: nothing is known"


@dataclass(frozen=True)
class Rating:
    """The word for a number.

    Attributes:
        rule: the thresholds, in words.
    """

    word: Word
    rule: str


def gain_on_held_out(row: Mapping[str, Any]) -> Rating:
    certain = row["low"] is not None and row["low"] > 0
    word: Word = "good" if certain and row["gain"] >= MIN_GAIN else "fair" if row["gain"] > 0 else "bad"
    return Rating(word, "good: at least 0.5 % and the interval above 0; fair: above 0")


def gain_on_trained(row: Mapping[str, Any]) -> Rating:
    return gain(row["gain"])


def gain(value: float) -> Rating:
    word: Word = "good" if value >= MIN_GAIN else "fair" if value > 0 else "bad"
    return Rating(word, GAIN_RULE)


def gain_on_other_music(row: Mapping[str, Any]) -> Rating:
    return Rating(
        _falling(-row["gain"], _MAX_SLIGHTLY_FORGOTTEN, MAX_FORGOTTEN),
        "good: worse by less than 5 %; fair: by less than 10 %",
    )


def predicted(without: float, with_twin: float) -> Rating:
    """Of the share of the latents' variance that one step predicts."""
    change = with_twin - without
    word: Word = "good" if change >= _MIN_PREDICTED else "bad" if change <= -_MIN_PREDICTED else "fair"
    return Rating(word, "good: at least 0.01 more than without the twin; bad: at least 0.01 less")


def songs(count: int) -> Rating:
    return Rating(_rising(count, _ENOUGH_SONGS, MIN_SONGS), f"good: {_ENOUGH_SONGS} or more; fair: {MIN_SONGS} or more")


def trained_seconds(seconds: float) -> Rating:
    rule = f"good: {_ENOUGH_SECONDS:.0f} s or more; fair: {MIN_SECONDS:.0f} s or more"
    return Rating(_rising(seconds, _ENOUGH_SECONDS, MIN_SECONDS), rule)


def is_unreadable(measured: Mapping[str, Any]) -> bool:
    """Whether a song's stated tempo or key could not be read, so that a confident estimate of it was not used."""
    return measured["source"] is None and (measured.get("confidence") or 0.0) >= MIN_CONFIDENCE


def certainty(measured: Mapping[str, Any]) -> Rating:
    """Of a song's tempo or key: one that is stated is certain; an estimate with a second candidate is fair at best."""
    confidence = measured.get("confidence")
    word: Word = "good" if confidence is None else _rising(confidence, _SURE, MIN_CONFIDENCE)
    if is_unreadable(measured):
        word = "bad"
    if word == "good" and measured.get("alternative") is not None:
        word = "fair"
    return Rating(word, CERTAINTY_RULE)


def description(song: Mapping[str, Any]) -> Rating:
    """Of a song's caption."""
    described = [word for word in song["words"] if word["source"]]
    stated = any(word["source"] in ("metadata", "embedded", "text") for word in described)
    word: Word = "good" if stated or len(described) > 1 else "fair" if described else "bad"
    return Rating(word, DESCRIPTION_RULE)


def share_lost_again(curve: Sequence[tuple[int, float]]) -> float | None:
    """The share of the best held-out gain that was lost again by the last step; None where the loss never fell.

    Args:
        curve: (step, held-out loss), at least one.
    """
    first, best, last = curve[0][1], min(loss for _, loss in curve), curve[-1][1]
    return (last - best) / (first - best) if first > best else None


def lost_again(curve: Sequence[tuple[int, float]]) -> Rating | None:
    """Of the held-out loss at the last step; None where it never fell."""
    lost = share_lost_again(curve)
    if lost is None:
        return None
    return Rating(
        _falling(lost, _MAX_SLIGHTLY_LOST_SHARE, MAX_LOST_SHARE),
        "good: less than 10 % of the best gain lost again; fair: less than 30 %",
    )


def way(position: float, goal: float = 1.0, certain: bool = True) -> Rating:
    """Of a position between the base model (0) and the producer's music (1).

    Args:
        goal: the position that can be reached.
        certain: whether the interval of the position excludes the base model.
    """
    beyond = abs(position - 1)
    word: Word = "bad" if beyond > 1 else "good" if _GOOD_WAY * goal <= position <= 1 + _GOOD_WAY else "fair"
    if word == "good" and not certain:
        word = "fair"
    reachable = "your music" if goal == 1 else "what its codec can hold"
    rule = f"good: at least half of the way from the base model to {reachable}"
    return Rating(word, f"{rule}; bad: farther from your music than the base model")


def _rising(value: float, good: float, fair: float) -> Word:
    return "good" if value >= good else "fair" if value >= fair else "bad"


def _falling(value: float, good: float, fair: float) -> Word:
    return "good" if value < good else "fair" if value < fair else "bad"
