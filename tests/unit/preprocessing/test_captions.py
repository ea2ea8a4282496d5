"""Captions from metadata and tags."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preprocessing.captions import DEFAULT_TEXT, Caption, ClipInfo, caption, restored_caption


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({}, Caption(DEFAULT_TEXT)),
        ({"title": "Track 1"}, Caption(f"{DEFAULT_TEXT}, Track 1")),
        (
            {"title": "Night", "tags": ["trap", "dark, 808"], "bpm": 140, "key": "Am", "timeSignature": "4/4"},
            Caption("trap, dark, 808, Night", 140, "A minor", "4"),
        ),
        ({"genre": "Trap", "tags": "trap, hard", "mood": "angry"}, Caption("Trap, hard, angry")),
        ({"bpm": "92.6 BPM", "key": "F♯ Major"}, Caption(DEFAULT_TEXT, 93, "F# major")),
        ({"tempo": "fast", "key": "H", "time_signature": "5/4"}, Caption(DEFAULT_TEXT)),
        ({"bpm": float("nan"), "key": 3, "tags": {"a": 1}, "other": [1]}, Caption(DEFAULT_TEXT)),
        ({"bpm": True, "genre": "a\nb\tc\x00d"}, Caption("a b c d")),
        ({"bpm": 9999, "genre": "x" * 900}, Caption("x" * 200)),
        ({"key": "bb min", "Time Signature": 3}, Caption(DEFAULT_TEXT, None, "Bb minor", "3")),
        ({"key": "C M"}, Caption(DEFAULT_TEXT, None, "C major")),
        ({"vocalLanguage": " JA "}, Caption(DEFAULT_TEXT, vocal_language="ja")),
        ({"language": "yue", "vocal_language": None}, Caption(DEFAULT_TEXT, vocal_language="yue")),
        ({"vocal_language": "Japanese"}, Caption(DEFAULT_TEXT)),
    ],
)
def test_captions_by_example(metadata: dict[str, Any], expected: Caption) -> None:
    assert caption(ClipInfo(metadata=metadata)) == expected


def test_captions_with_tags() -> None:
    line = "drill, sliding 808, glassy pad, tense"
    assert caption(ClipInfo(metadata={"genre": "drill", "title": "X"}, tags=line)).text == f"{line}, X"
    assert caption(ClipInfo(tags="  \n")).text == DEFAULT_TEXT


def test_where_each_word_is_from() -> None:
    made = caption(
        ClipInfo(
            path="/data/uploads/p/u/night_140bpm.wav",
            metadata={"mood": "dark", "title": "Night", "time_signature": "4/4"},
            embedded={"genre": "Techno, Dark", "bpm": 139.0, "key": "A minor", "title": "T"},
            analysis={"bpm": 70, "bpm_confidence": 0.9, "key": "C major", "key_confidence": 0.9},
            tags="synth, no vocals",
            tags_source="tagger",
            vocal=False,
        )
    )
    assert made == Caption("dark, Techno, synth, no vocals, Night", 140, "A minor", "4", vocal=False)
    assert made.sources == {
        "text": {
            "dark": "metadata",
            "Techno": "embedded",
            "synth": "tagger",
            "no vocals": "tagger",
            "Night": "metadata",
        },
        "bpm": "name",
        "key": "embedded",
        "time_signature": "metadata",
        "vocal": "tagger",
    }
    measured = caption(ClipInfo(analysis={"bpm": 70, "bpm_confidence": 0.9}))
    assert (measured, measured.sources) == (Caption(DEFAULT_TEXT, 70), {"text": {}, "bpm": "analysis"})


@pytest.mark.parametrize(
    ("metadata", "heard", "expected"),
    [
        ({}, True, True),
        ({"instrumental": True}, True, False),
        ({"vocals": True}, False, True),
        ({"Instrumental": False}, None, True),
        ({"instrumental": "yes"}, None, None),
    ],
)
def test_the_client_says_whether_there_is_a_voice(metadata: dict[str, Any], heard: bool | None, expected: bool) -> None:
    assert caption(ClipInfo(metadata=metadata, vocal=heard)).vocal is expected


@pytest.mark.slow
@given(
    st.dictionaries(
        st.sampled_from(["title", "bpm", "key", "tags", "mood", "genre", "time_signature", "x"]),
        st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(), st.lists),
    )
)
def test_any_metadata_makes_one_line(metadata: dict[str, Any]) -> None:
    made = caption(ClipInfo(metadata=metadata))
    assert made.text
    assert made.text.isprintable()
    assert made.bpm is None or 30 <= made.bpm <= 300


LINE = "piano, slow"
HEARD = caption(ClipInfo(metadata={"mood": "slow", "title": "One"}, tags=LINE, tags_source="tagger"))


@pytest.mark.parametrize("clip", [ClipInfo(tags=LINE), ClipInfo(tags=f" {LINE}\n")])
def test_a_stored_caption_stays_while_its_text_file_is_unchanged(clip: ClipInfo) -> None:
    found = restored_caption(clip, HEARD)
    assert found == HEARD
    assert found.sources == {"text": {"slow": "metadata", "piano": "tagger", "One": "metadata"}}


@pytest.mark.parametrize("line", ["piano, slow, warm", "organ", ""])
def test_an_edited_text_file_makes_a_new_caption(line: str) -> None:
    found = restored_caption(ClipInfo(tags=line), HEARD)
    assert found == caption(ClipInfo(tags=line))
    assert set(found.sources["text"].values()) <= {"text"}


def test_a_caption_of_an_earlier_version_stays() -> None:
    clip = ClipInfo(metadata={"title": "One", "bpm": 90})
    stored = Caption("instrumental beat, One", 90)
    found = restored_caption(clip, stored)
    assert found == stored
    assert found.sources == {"text": {"One": "metadata"}, "bpm": "metadata"}
    assert restored_caption(clip, None) == caption(clip)
