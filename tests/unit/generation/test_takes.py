"""Which takes are answered, how many are drawn, and what they are compared with."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from contract import FailedTake, Figures, GenerateForm, GenerateRequest
from contract.validation import validated
from core.errors import Refusal
from generation.delivery.plan import Delivered
from generation.figures import Goal, figures_of
from generation.goals import goal_of
from generation.provenance import Provenance
from generation.takes import Draft, made_of, select
from preprocessing.analysis import Analysis
from preprocessing.levels import Levels
from preprocessing.musical_key import KeyEstimate
from preprocessing.tempo import Tempo
from storage import Storage

NOTHING: dict[str, Any] = dict.fromkeys(Figures.model_fields) | {"clipped": 0}
# What is heard in the takes that are drawn one after the other.
HEARD: Sequence[Mapping[str, Any] | None] = (
    {"bpm_off": 0.3, "key_matches": True, "key_confidence": 0.6, "twin_distance": 3.0},
    {"bpm_off": 0.01, "key_matches": False, "key_confidence": 0.9, "twin_distance": 2.0},
    None,
    {"bpm_off": 0.1, "key_matches": True, "key_confidence": 0.8, "twin_distance": 1.0},
    {"bpm_off": None, "key_matches": None, "key_confidence": None, "twin_distance": None},
    {"bpm_off": 0.015, "key_matches": True, "key_confidence": 0.5, "twin_distance": 4.0},
)


def request(**fields: Any) -> GenerateRequest:
    return validated(GenerateRequest, {"prompt": "trap", "bpm": 140, "key": "A minor", "lora_id": "ada:night"} | fields)


def draft(number: int) -> Draft:
    heard = HEARD[number % len(HEARD)]
    figures = Figures(**{**NOTHING, **heard}) if heard else None
    return Draft(number, Delivered(b"", 48_000, 1.0, b""), Provenance("ace_step", "starter", number), figures)


def drawn(
    asked: GenerateRequest, failing: bool = False, broken: Sequence[int] = ()
) -> tuple[list[int], list[tuple[int, int]], int]:
    """The takes that are answered, by their numbers; the calls that drew; and the number that was drawn."""
    calls: list[tuple[int, int]] = []

    async def draw(before: int, count: int) -> list[Draft]:
        calls.append((before, count))
        if failing and before:
            raise Refusal(503, "64 requests are being served already")
        return [draft(number) for number in range(before, before + count) if number not in broken]

    takes, draws = asyncio.run(select(asked, draw))
    return [take.seed for take in takes], calls, draws


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"takes": 6}, [0, 1, 2, 3, 4, 5]),
        ({"takes": 6, "rank": "tempo"}, [1, 5, 3, 0, 2, 4]),
        ({"takes": 6, "rank": "key"}, [3, 0, 5, 1, 2, 4]),
        ({"takes": 6, "rank": "twin"}, [3, 1, 0, 5, 2, 4]),
        ({"best_of": 6, "rank": "tempo"}, [1]),
    ],
)
def test_takes_are_ordered(fields: dict[str, Any], expected: list[int]) -> None:
    """Those that cannot be told come last, and equal ones stay in the order of their seeds."""
    takes, calls, draws = drawn(request(**fields))
    assert (takes, calls, draws) == (expected, [(0, 6)], 6)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"accept": {"tempo_within": 0.02}}, ([1], [(0, 1), (1, 1)], 2)),
        ({"accept": {"tempo_within": 0.02, "key": True}}, ([5], [(number, 1) for number in range(6)], 6)),
        # None fits: the nearest by rank, or the first, is answered.
        ({"accept": {"tempo_within": 0.001, "draws": 4}, "rank": "tempo"}, ([1], [(n, 1) for n in range(4)], 4)),
        ({"accept": {"tempo_within": 0.001, "draws": 4}}, ([0], [(number, 1) for number in range(4)], 4)),
        # Only those that do not fit are drawn again.
        ({"accept": {"key": True, "draws": 6}, "takes": 3}, ([0, 3, 5], [(0, 3), (3, 2), (5, 1)], 6)),
        ({"accept": {"key": True, "draws": 5}, "best_of": 2, "rank": "twin"}, ([0], [(0, 2)], 2)),
        (
            {"accept": {"tempo_within": 0.001, "draws": 5}, "best_of": 2, "rank": "twin"},
            ([3], [(0, 2), (2, 2), (4, 1)], 5),
        ),
    ],
)
def test_takes_are_drawn_until_one_is_accepted(fields: dict[str, Any], expected: object) -> None:
    assert drawn(request(**fields)) == expected


def test_a_take_that_failed_is_told_and_the_others_are_answered() -> None:
    failed: list[FailedTake] = []
    results: list[Draft | BaseException] = [draft(0), Refusal(500, "not finite"), draft(2), KeyError("x")]
    assert [each.seed for each in made_of(results, [5, 6, 7, 8], failed)] == [0, 2]
    assert [each.seed for each in failed] == [6, 8] and failed[0].error == "not finite"
    with pytest.raises(Refusal, match="not finite"):
        made_of([Refusal(500, "not finite"), KeyError("x")], [1, 2], failed)
    with pytest.raises(asyncio.CancelledError):
        made_of([draft(0), asyncio.CancelledError()], [1, 2], failed)


def test_another_take_is_drawn_for_one_that_failed_where_takes_must_be_accepted() -> None:
    asked = request(accept={"key": True, "draws": 6}, takes=2)
    assert drawn(asked, broken=[0]) == ([3, 5], [(0, 2), (2, 2), (4, 1), (5, 1)], 6)
    assert drawn(request(best_of=3, rank="tempo"), broken=[1])[0] == [0]


def test_takes_are_answered_where_no_more_can_be_drawn() -> None:
    takes, _, draws = drawn(request(accept={"tempo_within": 0.001}, takes=2), failing=True)
    assert (takes, draws) == ([0, 1], 2)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"takes": 0}, "takes"),
        ({"takes": 9}, "takes"),
        ({"takes": 2, "best_of": 2, "rank": "tempo"}, "takes, best_of"),
        ({"best_of": 4}, "rank"),
        ({"best_of": 1, "rank": "tempo"}, "best_of"),
        ({"rank": "tempo"}, "rank"),
        ({"rank": "loudness", "takes": 2}, "rank"),
        ({"rank": "twin", "takes": 2, "lora_id": None}, "rank"),
        ({"rank": "key", "takes": 2, "key": None}, "key"),
        ({"accept": {}}, "accept"),
        ({"accept": {"tempo_within": 0}}, "accept.tempo_within"),
        ({"accept": {"key": True}, "key": None}, "key"),
        ({"accept": {"key": True, "draws": 33}}, "accept.draws"),
        ({"accept": {"key": True, "draws": 2}, "takes": 3}, "accept"),
        ({"accept": {"loud": True}}, "accept.loud"),
        ({"figures": "perhaps"}, "figures"),
    ],
)
def test_bad_input_is_named(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(Refusal, match=rf"^{named}: ") as refused:
        request(**fields)
    assert refused.value.status == 400


def test_a_form_has_the_same_fields_as_texts() -> None:
    texts = {"prompt": "trap", "key": "Am", "takes": "3", "figures": "true", "accept": '{"key": true, "draws": 5}'}
    form = validated(GenerateForm, texts)
    assert form.takes == 3 and form.figures and form.accept and (form.accept.key, form.accept.draws) == (True, 5)
    with pytest.raises(Refusal, match=r"^accept: it is not valid JSON"):
        validated(GenerateForm, {"prompt": "trap", "accept": "key"})


def test_a_tempo_is_what_was_asked_for(store: Storage) -> None:
    def tempo(**fields: Any) -> float | None:
        return goal_of(validated(GenerateRequest, {"prompt": "trap"} | fields), [], [], store).bpm

    assert (tempo(bpm=90), tempo(prompt="slow ballad, 70 bpm"), tempo(prompt="70 bpm, then 140 bpm")) == (90, 70, None)
    with pytest.raises(Refusal, match=r"^bpm: "):
        tempo(takes=2, rank="tempo")
    with pytest.raises(Refusal, match=r"^bpm: "):
        tempo(accept={"tempo_within": 0.02})


def test_figures_compare_with_what_was_asked_for() -> None:
    levels = Levels(seconds=10.0, peak=-1.0, loudness=-14.2, clipped=3, silent=0.0)
    heard = Analysis(levels, tempo=Tempo(147.0, 0.9), key=KeyEstimate("A# minor", 0.7))
    figures = figures_of(heard, Goal(bpm=140, key="Bb minor"))
    assert (figures.bpm, figures.bpm_off) == (147.0, 0.05)
    assert (figures.key, figures.key_matches) == ("A# minor", True)
    assert (figures.loudness, figures.peak, figures.clipped) == (-14.2, -1.0, 3)
    assert figures_of(heard, Goal(key="Bb major")).key_matches is False
    silence = figures_of(Analysis(levels), Goal(bpm=140, key="A minor"))
    assert (silence.bpm, silence.bpm_off, silence.key, silence.key_matches) == (None, None, None, None)
