"""The verdict on a twin."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.evaluation.heard import Change, Heard
from training.evaluation.intervals import Interval
from training.evaluation.losses import Comparison
from training.evaluation.verdict import judge


def _comparison(gain: float, margin: float = 0.01, sample: str = "songs") -> Comparison:
    return Comparison(1.0, 1.0 - gain, gain, gain - margin, gain + margin, sample, 8)


def _interval(value: float, margin: float = 0.02) -> Interval:
    return Interval(value, value - margin, value + margin)


def _change(without: float, with_twin: float, own: float = 0.6, margin: float = 0.02) -> Change:
    return Change(*(_interval(each, margin) for each in (own, own, without, with_twin, with_twin - without)))


def _heard(nearer: float = 1.0, pulse: Change | None = None, persistence: Change | None = None) -> Heard:
    same = _change(0.3, 0.3)
    return Heard(_interval(5.0), _interval(5.0 - nearer), _interval(nearer, 0.2), pulse or same, persistence or same)


LOST = _change(0.3, 0.1)
MEASURED: dict[str, Any] = {
    "songs": 12,
    "seconds": 300.0,
    "noise": False,
    "held_out": _comparison(0.1),
    "trained_on": _comparison(0.12),
    "other": _comparison(0.0),
    "curve": [(0, 1.0), (50, 0.95), (100, 0.9)],
    "heard": _heard(),
    "backend": "ace_step",
}


@pytest.mark.parametrize(
    ("changes", "word", "said"),
    [
        ({}, "learned", "10.0 %"),
        ({}, "learned", "its distance is 4.00, that of the base model 5.00"),
        ({"noise": True}, "too little data", "noise"),
        ({"seconds": 1.0}, "too little data", "1 s of music"),
        ({"songs": 1, "held_out": None, "curve": []}, "too little data", "1 song none"),
        ({"songs": 1, "held_out": None, "curve": [], "heard": _heard(1, LOST)}, "too little data", "lost rhythm"),
        ({"held_out": _comparison(0.01, 0.02), "trained_on": _comparison(0.02)}, "weak", "chance"),
        ({"held_out": _comparison(0.001, 0.0001), "trained_on": _comparison(0.003)}, "weak", "0.1 %"),
        ({"heard": _heard(0.1)}, "weak", "not sound nearer"),
        ({"heard": None}, "weak", "not measured"),
        ({"held_out": None}, "weak", "The held-out loss was not measured"),
        ({"held_out": None, "heard": _heard(1, LOST)}, "lost", "lost rhythm"),
        ({"curve": [(0, 1.0), (50, 0.8), (100, 0.95)]}, "overfitted", "step 50"),
        ({"curve": [(0, 1.0), (50, 1.05), (100, 1.2)], "held_out": _comparison(-0.2)}, "overfitted", "step 0"),
        ({"held_out": _comparison(0.01, 0.02), "trained_on": _comparison(0.3)}, "overfitted", "30.0 %"),
        ({"other": _comparison(-0.4)}, "learned", "lora_scale below 1"),
        ({"other": _comparison(-0.4), "scale": 1.25}, "learned", "lora_scale below 1.25"),
        ({"heard": _heard(1, LOST), "scale": 0.5}, "lost", "lora_scale below 0.5"),
        (
            {"heard": _heard(1, LOST)},
            "lost",
            "the pulse fell from 0.300 to 0.100 (95 % interval of the change -0.220 to -0.180), and",
        ),
        ({"heard": _heard(1, None, LOST)}, "lost", "lost harmony"),
        ({"heard": _heard(1, LOST, LOST)}, "lost", "rhythm and harmony"),
        ({"heard": _heard(1, LOST)}, "lost", "max_steps=50) or a quarter of the learning_rate, or send"),
        ({"heard": _heard(1, LOST)}, "lost", "MusicGen"),
        ({"heard": _heard(1, LOST), "curve": [(0, 1.0), (30, 0.8), (100, 0.95)]}, "lost", "max_steps=30"),
        ({"heard": _heard(1, _change(0.3, 0.1, own=0.1))}, "learned", ""),
    ],
)
def test_verdicts(changes: dict[str, Any], word: str, said: str) -> None:
    verdict = judge(**MEASURED | changes)
    assert verdict.verdict == word and said in f"{verdict.sentence} {verdict.advice}" and verdict.advice


def test_musicgen_is_not_advised_to_its_own_twins() -> None:
    assert "MusicGen" not in judge(**MEASURED | {"heard": _heard(1, LOST), "backend": "musicgen"}).advice


values = st.floats(0, 1)


@given(
    gain=st.floats(-0.5, 0.5),
    nearer=st.floats(-2, 2),
    margin=st.floats(0, 0.3),
    pulse=st.tuples(values, values, values),
    persistence=st.tuples(values, values, values),
    last=st.floats(0.5, 1.5),
)
def test_what_is_lost_or_not_nearer_is_never_learned(
    gain: float,
    nearer: float,
    margin: float,
    pulse: tuple[float, float, float],
    persistence: tuple[float, float, float],
    last: float,
) -> None:
    heard = _heard(nearer, _change(*pulse, margin=margin), _change(*persistence, margin=margin))
    changes = {"held_out": _comparison(gain), "heard": heard, "curve": [(0, 1.0), (100, last)]}
    word = judge(**MEASURED | changes).verdict
    assert (word == "lost") == bool(heard.lost)
    if word == "learned":
        assert not heard.lost and nearer > 0 and gain > 0
