"""The verdict on a twin: a word, a sentence that explains it, and advice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from contract import VerdictWord
from training.evaluation.heard import LOSSES, Change, Heard
from training.evaluation.held_out import MIN_SONGS
from training.evaluation.losses import Comparison
from training.evaluation.ratings import MAX_FORGOTTEN, MAX_LOST_SHARE, MIN_GAIN, MIN_SECONDS, share_lost_again

_MORE_ADVICE = "Train with more steps or a higher learning_rate, or send more songs of one style."
_UNHEARD = "but it was not measured how it sounds"


@dataclass(frozen=True)
class Verdict:
    """As in the report's `verdict`."""

    verdict: VerdictWord
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
    heard: Heard | None,
    backend: str,
    scale: float = 1.0,
) -> Verdict:
    """Judge a twin by what was measured.

    It learned if the loss on held-out songs fell and its pieces are nearer to the producer's music. It never learned if
    it lost rhythm or harmony.

    Args:
        songs: the number of different songs that were sent.
        seconds: length of the music that was trained on.
        noise: whether most of the music is noise.
        held_out: the comparison on held-out songs, None if there are none or it failed.
        trained_on: the comparison on the music that was trained on.
        other: the comparison on reference music.
        curve: (step, held-out loss), up to the version that is judged.
        heard: the comparison of its pieces, None if it failed.
        backend: of the base model.
        scale: the `lora_scale` at which it was measured.
    """
    if noise:
        return Verdict(
            "too little data",
            "What was sent is noise: it has neither tones nor rhythm, so there is no style in it to learn.",
            "Send music.",
        )
    if seconds < MIN_SECONDS:
        return Verdict(
            "too little data",
            f"{seconds:.0f} s of music is too little to tell a style from a single sound.",
            f"Send at least {MIN_SONGS} songs, some minutes in all.",
        )
    if held_out is None and songs < MIN_SONGS:
        known = "" if trained_on is None else f" On what it was trained on it is {_percent(trained_on.gain)} better."
        known += f" {_lost_sentence(heard)}" if heard and heard.lost else ""
        return Verdict(
            "too little data",
            f"With {songs} {'song' if songs == 1 else 'songs'} none could be held out, so nothing shows whether the "
            f"twin learned a style or remembers these pieces.{known}",
            f"Send at least {MIN_SONGS} different songs; ten or more make a good twin.",
        )
    if heard and heard.lost:
        return Verdict("lost", _lost_sentence(heard), _lost_advice(curve, backend, scale))
    if curve and _got_worse(curve):
        best = min(curve, key=lambda point: point[1])
        return Verdict(
            "overfitted",
            f"On songs it never heard the twin was best at step {best[0]} and got worse until step {curve[-1][0]}.",
            f"Train again with max_steps={max(best[0], 1)}, or send more songs.",
        )
    if held_out is None:
        return Verdict(
            "weak",
            "The held-out loss was not measured, so nothing shows whether the twin learned a style or remembers these "
            "pieces.",
            "The report says why it was not measured; train again once that is mended.",
        )
    better = held_out.low is not None and held_out.low > 0 and held_out.gain >= MIN_GAIN
    gain = (
        f"On {_sample(held_out)} it never heard the twin is {_percent(held_out.gain)} better than the base model "
        f"({_interval(held_out)})"
    )
    if better and heard and heard.is_nearer:
        return Verdict(
            "learned",
            f"{gain}, and it sounds nearer to the producer's music: {_distances(heard)}.",
            _forgetting_advice(other, scale) or "Use it; raise or lower lora_scale to taste.",
        )
    if trained_on is not None and trained_on.gain >= MIN_GAIN and held_out.gain < trained_on.gain / 4:
        return Verdict(
            "overfitted",
            f"The twin is {_percent(trained_on.gain)} better on what it was trained on, but {_percent(held_out.gain)} "
            f"on songs it never heard ({_interval(held_out)}).",
            "Send more songs, or train with fewer steps or a smaller rank.",
        )
    if better:
        sound = f"but it does not sound nearer to the producer's music: {_distances(heard)}" if heard else _UNHEARD
        return Verdict("weak", f"{gain}, {sound}.", _MORE_ADVICE)
    return Verdict(
        "weak",
        f"On {_sample(held_out)} it never heard the twin differs from the base model by {_percent(held_out.gain)} "
        f"({_interval(held_out)}), which may be chance or too little to hear.",
        _MORE_ADVICE,
    )


def _lost_sentence(heard: Heard) -> str:
    names = {"pulse": "pulse", "persistence": "persistence of tones"}
    details = []
    for measure in (LOSSES[loss] for loss in heard.lost):
        change = heard.change(measure)
        fall = change.difference
        details.append(
            f"the {names[measure]} fell from {change.without.value:.3f} to {change.with_twin.value:.3f} "
            f"(95 % interval of the change {fall.low:.3f} to {fall.high:.3f}), and the producer's music has "
            f"{change.own.value:.3f}{_after_codec(change)}"
        )
    return f"The twin lost {' and '.join(heard.lost)} that the base model had: {'; '.join(details)}."


def _after_codec(change: Change) -> str:
    return "" if change.codec is None else f", {change.codec.value:.3f} after the codec"


def _lost_advice(curve: Sequence[tuple[int, float]], backend: str, scale: float) -> str:
    best = min(curve, key=lambda point: point[1], default=(0, 0.0))[0]
    last = curve[-1][0] if curve else 0
    steps = best if 0 < best < last else last // 2
    fewer = f"fewer steps (max_steps={steps})" if steps else "fewer steps"
    other = ", or train on the MusicGen backend" if backend == "ace_step" else ""
    return (
        f"Use a lora_scale below {scale:g}, train with {fewer} or a quarter of the learning_rate, or send music that "
        f"is nearer to what the base model plays{other}."
    )


def _distances(heard: Heard) -> str:
    nearer = heard.nearer
    return (
        f"its distance is {heard.with_twin.value:.2f}, that of the base model {heard.without.value:.2f} "
        f"(95 % interval of the difference {nearer.low:.2f} to {nearer.high:.2f})"
    )


def _got_worse(curve: Sequence[tuple[int, float]]) -> bool:
    """Whether the held-out loss rose by the last step: too much of its fall was lost again, or it never fell."""
    lost, first, last = share_lost_again(curve), curve[0][1], curve[-1][1]
    return lost > MAX_LOST_SHARE if lost is not None else last > first * (1 + MIN_GAIN)


def _forgetting_advice(other: Comparison | None, scale: float) -> str:
    if other is None or other.gain > -MAX_FORGOTTEN:
        return ""
    return (
        f"It makes other music {_percent(-other.gain)} worse: "
        f"use a lora_scale below {scale:g} for prompts far from this style."
    )


def _sample(comparison: Comparison) -> str:
    return f"{comparison.count} {comparison.sample if comparison.sample == 'songs' else 'segments of songs'}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _interval(comparison: Comparison) -> str:
    if comparison.low is None or comparison.high is None:
        return "from a single sample, so there is no interval"
    return f"95 % interval {100 * comparison.low:.1f} to {100 * comparison.high:.1f} %"
