"""The fields of a task, and the window that they choose."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract import GenerateForm, GenerateRequest
from contract.validation import validated
from core.errors import Refusal
from generation.editing.windows import MIN_WINDOW_SECONDS, Window, window_of

PATH = "/data/outputs/base/a.wav"


def request(**fields: Any) -> GenerateRequest:
    return validated(GenerateRequest, {"prompt": "trap", "source": PATH} | fields)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"task": "repaint", "start": 2, "end": 5}, Window(2, 5, 10)),
        ({"task": "repaint", "start": 2}, Window(2, 10, 10)),
        ({"task": "repaint", "end": 2}, Window(0, 2, 10)),
        ({"task": "repaint", "start": 0, "end": 10}, Window(0, 10, 10)),
        ({"task": "repaint", "start": 9, "end": 10.04}, Window(9, 10, 10)),
        ({"task": "extend", "after": 4}, Window(10, 14, 14)),
        ({"task": "extend", "before": 4}, Window(0, 4, 14, 4)),
        ({"task": "extend", "before": 4, "after": 2}, Window(14, 16, 16, 4)),
        ({"task": "cover", "strength": 0.5}, Window(0, 10, 10)),
        ({"task": "lego", "tracks": ["drums"]}, Window(0, 10, 10)),
        ({"task": "lego", "tracks": ["drums"], "start": 3, "end": 4}, Window(3, 4, 10)),
        ({"task": "melody", "duration_seconds": 20}, Window(0, 10, 10)),
    ],
)
def test_windows(fields: dict[str, Any], expected: Window) -> None:
    assert window_of(request(**fields), 10.0) == expected


def test_an_extension_at_both_ends_has_two_parts() -> None:
    assert window_of(request(task="extend", before=4, after=2), 10.0).spans == ((0, 4), (14, 16))
    for fields in ({"task": "extend", "before": 4}, {"task": "extend", "after": 4}, {"task": "repaint", "end": 4}):
        assert len(window_of(request(**fields), 10.0).spans) == 1


@given(
    task=st.sampled_from(["repaint", "extend", "lego", "cover"]),
    source_seconds=st.floats(0.1, 600),
    one=st.none() | st.floats(0, 700),
    other=st.none() | st.floats(0.001, 700),
)
def test_any_window_is_within_its_track_or_refused(
    task: str, source_seconds: float, one: float | None, other: float | None
) -> None:
    fields = {"repaint": ("start", "end"), "lego": ("start", "end"), "extend": ("before", "after"), "cover": ()}[task]
    asked: dict[str, Any] = dict(zip(fields, (one, other), strict=False))
    asked |= {"tracks": ["drums"]} if task == "lego" else {}
    try:
        window = window_of(request(task=task, **asked), source_seconds)
    except Refusal as refusal:
        assert refusal.status == 400 and any(name in refusal.message for name in fields)
        return
    edges = [0.0, *(edge for span in window.spans for edge in span), window.length]
    assert edges == sorted(edges)
    assert all(end - start >= MIN_WINDOW_SECONDS for start, end in window.spans)
    assert window.length - window.before >= source_seconds - 1e-9


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({"task": "repaint", "start": 10}, ("start", "10 s long")),
        ({"task": "repaint", "start": 1, "end": 10.1}, ("end", "10 s long", "extend")),
        ({"task": "repaint", "start": 9.95}, ("start, end", "0.1 s")),
        ({"task": "repaint", "start": 1, "end": 1.05}, ("start, end", "0.1 s")),
        ({"task": "extend", "after": 0.05}, ("before, after", "0.1 s")),
        ({"task": "extend", "before": 0.05, "after": 1}, ("before, after", "0.1 s")),
    ],
)
def test_windows_outside_the_source_are_refused(fields: dict[str, Any], names: tuple[str, ...]) -> None:
    with pytest.raises(Refusal) as refused:
        window_of(request(**fields), 10.0)
    assert refused.value.status == 400
    assert all(name in refused.value.message for name in names), refused.value.message


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({"task": "remix"}, ("task", "'repaint'")),
        ({}, ("source", "text", "repaint")),
        ({"source": None, "strength": 0.5}, ("strength", "task: cover")),
        ({"task": "repaint"}, ("start, end",)),
        ({"task": "repaint", "start": 2, "end": 2}, ("end", "after start")),
        ({"task": "repaint", "start": -1}, ("start",)),
        ({"task": "repaint", "start": 1, "strength": 0.5}, ("strength", "task: cover")),
        ({"task": "repaint", "start": 1, "tracks": ["drums"]}, ("tracks", "complete, lego or extract")),
        ({"task": "repaint", "start": 1, "injected_share": 1.1}, ("injected_share",)),
        ({"task": "repaint", "start": 1, "duration_seconds": 5}, ("duration_seconds", "leave it out")),
        ({"task": "extend"}, ("before, after",)),
        ({"task": "extend", "after": 0}, ("after",)),
        ({"task": "extend", "after": 5, "start": 1}, ("start", "repaint or lego")),
        ({"task": "cover", "noise_strength": -0.1}, ("noise_strength",)),
        ({"task": "lego"}, ("tracks", "drums")),
        ({"task": "lego", "tracks": ["drums", "bass"]}, ("tracks", "one")),
        ({"task": "extract", "tracks": ["kazoo"]}, ("tracks.0", "'drums'")),
        ({"task": "complete"}, ("tracks", "drums")),
        ({"task": "complete", "tracks": ["drums", "drums"]}, ("tracks", "twice")),
        ({"source": None, "vocal_language": "japanese"}, ("vocal_language", "ISO 639")),
    ],
)
def test_fields_that_do_not_belong_together_are_refused(fields: dict[str, Any], names: tuple[str, ...]) -> None:
    with pytest.raises(Refusal) as refused:
        request(**fields)
    assert refused.value.status == 400
    assert all(name in refused.value.message for name in names), refused.value.message


def test_a_form_has_the_same_fields_as_texts() -> None:
    fields = {"prompt": "trap", "task": "complete", "tracks": "drums, bass", "seed": "7", "lora_scale": "0.5"}
    form = validated(GenerateForm, fields | {"loras": '[{"lora_id": "a:b", "weight": 0.5}]', "vocalLanguage": "JA"})
    assert (form.tracks, form.seed, form.lora_scale, form.vocal_language) == (["drums", "bass"], 7, 0.5, "ja")
    assert form.loras and (form.loras[0].lora_id, form.loras[0].weight) == ("a:b", 0.5)
    assert validated(GenerateForm, fields | {"tracks": '["drums"]'}).tracks == ["drums"]
    with pytest.raises(Refusal, match="tracks: it is not valid JSON"):
        validated(GenerateForm, fields | {"tracks": '["drums"'})
