"""Tempo, key and time signature in the spellings of musicians and tools, in metadata and file names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from contract import GenerateRequest, TrainRequest
from contract.validation import describe_validation
from core.notation import KEY, TEMPO, TIME_SIGNATURE, Notation, Unreadable, pitch, whole
from core.settings import Settings
from preprocessing.captions import ClipInfo, caption
from preprocessing.dataset import prepare
from preprocessing.metadata import parse_metadata
from recipes.synthesiser import render, sample_song
from storage import open_storage
from training.evaluation.data_section import data_section

NOTATIONS: list[Notation[Any]] = [TEMPO, KEY, TIME_SIGNATURE]
NOTES = [letter + sign for letter in "ABCDEFG" for sign in ("", "#", "b")]
KEYS = [f"{note} {mode}" for note in NOTES for mode in ("major", "minor")]
HEARD = {"bpm": 111.0, "bpm_confidence": 1.0, "key": "E major", "key_confidence": 1.0}
# For each value, its spellings.
TEMPOS: dict[float | None, list[Any]] = {
    92.0: [92, 92.0, "92", "~92", "≈ 92", [92], ["92", 92], "92 BPM", "92bpm.", "BPM: 92", "tempo 92", "ca. 92",
        "92 b.p.m.", "about 92 bpm", "♩ = 92", "quarter note = 92", "92 beats per minute", "92 beats/min", "(92)",
        "092", "bpm92", "M.M. ♩ = 92", "92 per minute", "roughly 92", "92/min",
        {"value": 92}, {"bpm": "auto", "tempo": 92}, {"bpm": {"value": "92"}}, {"value": 92, "confidence": 0.4}],
    92.5: ["92,5", "92.50", 92.5, "92,500 bpm", "９２.５"],
    93.0: ["92-94", "92–94 bpm", "92 to 94", "92..94"],
    None: [None, "", " ", "auto", "Unknown", "N/A", "?", 0, "0.00", [], [None, ""], {"bpm": None}],
}  # fmt: skip
NO_TEMPOS = [
    *("fast", "Allegro", 29, 301, -92, "-92", "9999", True, float("nan"), float("inf"), 10**400, {}, {"a": 92}),
    *(
        "half-time 70",
        "70/140",
        "90-180",
        "140 (70)",
        "70 or 140",
        [70, 140],
        "60,140",
        "♪ = 120",
        "1e2",
        "92 94",
        "٩٢",
    ),
]
KEYS_READ: dict[str | None, list[Any]] = {
    "A minor": ["A minor", "a minor", "A Minor\n", "Am", "am", "A min", "Amin.", "A-minor", "A:min", "a_minor",
        "A/minor", "a moll", "A-Moll", "8A", "8a", "08A", "1m", "8A - Am", "Am (8A)", "Key of A minor", "A minor scale",
        "A harmonic minor", "la mineur", "La minore", "A aeolian", "A小调", "Ａ minor", ["A", "minor"], ["Am"],
        "A minor (natural)", "Key: A, Scale: Minor", "A aeolian mode", "8 A", {"root": "A", "type": "minor"},
        {"key": "A", "scale": "minor"}, {"tonic": "A", "mode": "min"}, {"name": "A Minor", "id": 21},
        {"value": "Am", "strength": 0.9}],
    "A major": ["A", "A major", "AM", "A dur", "A:maj", "11B", "4d", "A ionian", {"key": "A", "confidence": 0.5}],
    "Bb major": ["B-flat Major", "B♭", "Bb", "bb major", "Bflat maj", "6B", "Si bemol mayor", "B flat"],
    "Bb minor": ["bb min", "B♭m", "Bbm", "B-flat minor", "3A", "8m"],
    "C# minor": ["C#m/Db", "C#m", "C♯ minor", "C-sharp minor", "C sharp min", "cis-moll", "C#/Db minor", "do# minore"],
    "F# minor": ["F-sharp minor", "F#m", "fis moll", "11A", "F#m (11A)"],
    "Eb major": ["Es-Dur", "Es", "E♭ major", "5B"],
    "B minor": ["h-moll", "Bm", "b minor", "10A"],
    "Db major": ["Des-Dur", "3B", "8d"],
    None: [None, "", "auto", "unknown", "n/a", [], "-"],
}  # fmt: skip
NO_KEYS = [
    *(
        "H",
        "H minor",
        "a",
        "bb",
        "A dorian",
        "A minor pentatonic",
        "Amin7",
        "A7",
        "A-",
        "A+",
        "minor",
        "in a minor key",
    ),
    *("Am/C", "A minor or C major", "8A Em", "B-Dur", "b moll", "13A", "0A", "C##", "Aminority", "x" * 5000, "atonal"),
    *(9, 0, True, {}, {"a": "Am"}, ["Am", "Em"], {"key": "A minor", "scale": "major"}, {"key": 9, "mode": 0}),
]
SIGNATURES: dict[str | None, list[Any]] = {
    "4": [4, "4", 4.0, "4.0", "4/4", "4/4 time", "time 4/4", "4:4", "4-4", "4 / 4", "four-four", "common time",
        "C", "4/4 (common time)", "4 beats in a bar", ["4", "4"], {"top": 4, "bottom": 4}, [4, 4], [4]],
    "3": [3, "3/4", "¾", "3 4", "three four", {"numerator": 3, "denominator": 4}, {"beats": 3, "beat_type": 4}],
    "6": ["6/8", "six-eight", "6 over 8", [6, 8], "6/8 metre"],
    "2": [2, "2/4", ["2/4"], {"value": "2/4"}],
    None: [None, "", "auto", 0, "N/A"],
}  # fmt: skip
NO_SIGNATURES = [
    *(5, "5", "5/4", "12/8", "7/8", "2/2", "3/8", "6/4", "waltz", 4.5, True, [3, 8], "3/4, 4/4", ["3/4", "4/4"]),
    *({}, {"numerator": 12, "denominator": 8}, 10**400),
]


def flat(read: dict[Any, list[Any]], unreadable: list[Any]) -> list[Any]:
    return [
        *(pytest.param(value, expected, id=repr(value)[:40]) for expected, values in read.items() for value in values),
        *(pytest.param(value, Unreadable, id=repr(value)[:40]) for value in unreadable),
    ]


def check(notation: Notation[Any], value: Any, expected: Any) -> None:
    if expected is Unreadable:
        with pytest.raises(Unreadable):
            notation.read(value)
    else:
        assert notation.read(value) == expected


@pytest.mark.parametrize(("value", "expected"), flat(TEMPOS, NO_TEMPOS))
def test_tempos(value: Any, expected: Any) -> None:
    check(TEMPO, value, expected)


@pytest.mark.parametrize(("value", "expected"), flat(KEYS_READ, NO_KEYS))
def test_keys(value: Any, expected: Any) -> None:
    check(KEY, value, expected)


@pytest.mark.parametrize(("value", "expected"), flat(SIGNATURES, NO_SIGNATURES))
def test_time_signatures(value: Any, expected: Any) -> None:
    check(TIME_SIGNATURE, value, expected)


def test_the_wheels_go_round() -> None:
    """A fifth up for each hour, and the relative minor beside each major."""
    keys = {code: str(KEY.read(code)) for hour in range(1, 13) for code in (f"{hour}{side}" for side in "ABmd")}
    for hour in range(1, 13):
        major = pitch(keys[f"{hour}B"].split()[0])
        assert pitch(keys[f"{hour}A"].split()[0]) == (major - 3) % 12
        assert pitch(keys[f"{hour % 12 + 1}B"].split()[0]) == (major + 7) % 12
        on_open_key = (hour + 4) % 12 + 1
        assert (keys[f"{on_open_key}d"], keys[f"{on_open_key}m"]) == (keys[f"{hour}B"], keys[f"{hour}A"])


WORDS = st.sampled_from(
    [
        *"ABbaHm#/-:., ()[]|~♯♭♩=0189",
        "minor",
        "dur",
        "moll",
        "flat",
        "sharp",
        "is",
        "bpm",
        "to",
        "8A",
        "4/4",
        "140",
        "time",
        "in",
    ]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text() | st.lists(WORDS).map("".join),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["value", "bpm", "key", "scale", "beats"]), inner)
    ),
)


@pytest.mark.slow
@given(VALUES)
def test_any_value_is_read_or_unreadable_and_reading_it_again_changes_nothing(value: Any) -> None:
    for notation in NOTATIONS:
        try:
            read = notation.read(value)
        except Unreadable:
            continue
        assert notation.read(read) == read
        assert notation.read([read, {"value": read}]) == read
        assert read is None or notation is not TEMPO or 30 <= read <= 300
        assert read is None or notation is not KEY or read in KEYS


@given(st.floats(30, 300).map(lambda bpm: round(bpm, 2)))
def test_a_tempo_is_the_same_however_it_is_written(bpm: float) -> None:
    for text in (bpm, f"{bpm}", f"{bpm:.2f} BPM".replace(".", ","), f"~{bpm}", {"tempo": bpm}):
        assert TEMPO.read(text) == bpm
    assert parse_metadata({}, f"/data/uploads/p/j/night_{bpm:.2f}bpm.wav").bpm == bpm
    assert abs(whole(bpm) - bpm) <= 0.5


@pytest.mark.parametrize("key", KEYS)
def test_a_key_is_the_same_however_it_is_written(key: str) -> None:
    note, mode = key.split()
    words = note.replace("#", "-sharp").replace("b", "-flat") if len(note) > 1 else note
    for text in (
        key,
        f"{note}{mode[:3]}",
        f"{words} {mode}",
        f"{note}:{mode[:3]}",
        f"{note.lower()} {mode}",
        [note, mode],
    ):
        assert KEY.read(text) == key
    assert parse_metadata({}, f"night {note}{mode[:3]} 90bpm.wav").key == key


@pytest.mark.parametrize(
    ("name", "bpm", "key"),
    [
        ("night_87.50bpm.wav", 87.5, None),
        ("night_87,5 BPM.wav", 87.5, None),
        ("bpm172.wav", 172, None),
        ("x_BPM=172.5.wav", 172.5, None),
        ("172-bpm", 172, None),
        ("tempo_90 loop.wav", 90, None),
        ("v1.140bpm.wav", 140, None),
        ("2026-11-30-140bpm.wav", 140, None),
        ("beat 127 140bpm.wav", 140, None),
        ("808-140bpm.wav", 140, None),
        ("92-94bpm.wav", 93, None),
        ("beat_99_140bpm.wav", 140, None),
        ("2023 bpm 140.wav", 140, None),
        ("https://a.example/x/night%20140bpm%20F%23m.wav", 140, "F# minor"),
        ("140bpm_Am.wav", 140, "A minor"),
        ("Lead_Cm_128bpm.wav", 128, "C minor"),
        ("128bpm_Gm_pad.wav", 128, "G minor"),
        ("a-flat minor 90bpm.wav", 90, "Ab minor"),
        ("I Am 140bpm.wav", 140, None),
        ("Who I Am.wav", None, None),
        ("a minor thing, 140bpms, uptempo 90.wav", None, None),
        ("ebm 120bpm.wav", 120, None),
        ("Amin7 90bpm.wav", 90, None),
    ],
)
def test_file_names(name: str, bpm: float | None, key: str | None) -> None:
    found = parse_metadata({}, name)
    assert (found.bpm, found.key, found.warnings) == (bpm, key, ())


@pytest.mark.parametrize(
    ("metadata", "name", "bpm", "key", "expected"),
    [
        ({"bpm": "fast"}, "a.wav", None, "E major", ['bpm: no tempo from 30 to 300 can be read from "fast"; it stays']),
        ({"key": "A dorian"}, "a.wav", 111, None, ["A dorian", "stays empty"]),
        ({"bpm": 92, "tempo": "fast"}, "a.wav", 92, "E major", ['"fast"', "92 counts"]),
        ({"bpm": 92, "tempo": 184}, "a.wav", None, "E major", ["bpm, tempo: more than one tempo"]),
        ({"bpm": "fast"}, "90bpm.wav", 90, "E major", ['"fast"', "90 counts"]),
        ({"bpm": 92}, "90bpm.wav", 92, "E major", ["the file's name", "92 counts"]),
        ({"key": "A minor", "scale": "major"}, "a.wav", 111, None, ["key, scale: more than one"]),
        ({"key": "A", "scale": "hirajoshi"}, "a.wav", 111, None, ["hirajoshi"]),
        ({"key": "A minor", "scale": "hirajoshi"}, "a.wav", 111, "A minor", ["hirajoshi", "A minor counts"]),
        ({"Key": "Am", "camelot": "9A"}, "a.wav", 111, None, ["Key, camelot"]),
        ({}, "night_87_50bpm.wav", None, "E major", ["the file's name"]),
        ({}, "90-140bpm.wav", None, "E major", ["the file's name"]),
        ({}, "70bpm 140bpm.wav", None, "E major", ["the file's name", '"70", "140"']),
        ({"timeSignature": "12/8"}, "a.wav", 111, "E major", ["timeSignature", '"12/8"']),
        ({"bpm": "auto", "key": "", "time_signature": None}, "a.wav", 111, "E major", []),
        ({"mode": "text2music", "tempo": 0}, "a.wav", 111, "E major", []),
        ({"BPM": "~92", "Initial Key": "8A", "camelot": "8A"}, "92.4bpm_Amin.wav", 92, "A minor", []),
        ({"key_key": "A", "key_scale": "minor"}, "a.wav", 111, "A minor", []),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_warned_about_and_not_replaced(
    metadata: dict[str, Any], name: str, bpm: int | None, key: str | None, expected: list[str]
) -> None:
    made = caption(ClipInfo(name, metadata, HEARD))
    assert (made.bpm, made.key) == (bpm, key)
    warnings = parse_metadata(metadata, name).warnings
    assert bool(warnings) == bool(expected)
    assert all(words in " ".join(warnings) for words in expected)


@given(st.dictionaries(st.sampled_from(["bpm", "key", "scale", "mode", "meter"]), VALUES), st.lists(WORDS).map("".join))
def test_a_field_that_was_filled_is_read_or_warned_about(metadata: dict[str, Any], name: str) -> None:
    found = parse_metadata(metadata, name)
    made = caption(ClipInfo(name, metadata, HEARD))
    assert all(warning.isprintable() for warning in found.warnings)
    for field in ("bpm", "key"):
        if field in found.unreadable:
            assert found.warnings and getattr(made, field) is None


@pytest.mark.slow
def test_the_record_tells_what_was_not_read(tmp_path: Path) -> None:
    storage = open_storage((tmp_path / "store").as_uri())
    for number, name in enumerate(("one_87.50bpm.wav", "two.wav")):
        song = sample_song(np.random.default_rng(number), "house")
        soundfile.write(tmp_path / name, render(song, 5, 44_100).T, 44_100)
        storage.put_file(f"uploads/p/u/{name}", tmp_path / name)
    request = TrainRequest.model_validate(
        {
            "producer_id": "p",
            "upload_paths": ["/data/uploads/p/u/one_87.50bpm.wav", "/data/uploads/p/u/two.wav"],
            "metadata_per_file": [{"key": "A", "scale": "minor"}, {"bpm": "fast", "key": "C#m/Db"}],
        }
    )
    made = prepare(request, "j", storage, tmp_path / "work", Settings(), native_rate=48_000, native_channels=2)
    record = json.loads(storage.get("datasets/p/j/dataset.json"))
    assert [file["warnings"] for file in record["files"]] == [
        [],
        ['bpm: no tempo from 30 to 300 can be read from "fast"; it stays empty'],
    ]
    assert any(
        '"fast"' in warning and warning.startswith("two: ")
        for warning in data_section(made, set(), [False])["warnings"]
    )
    captions = [part["caption"] for part in record["segments"]]
    assert [(each["bpm"], each["key"]) for each in captions] == [(88, "A minor"), (None, "C# minor")]


@pytest.mark.parametrize(
    ("sent", "field", "expected"),
    [
        *(({"bpm": each}, "bpm", 140) for each in (140, 140.0, "140", "140 BPM", "~140", 140.4)),
        ({"bpm": 140.5}, "bpm", 141),
        *(({"bpm": each}, "bpm", None) for each in (0, "", "auto", None)),
        *(({"key": each}, "key", "A minor") for each in ("Am", "A minor", "a minor", "8A", "A Minor\n")),
        *(({"key": each}, "key", None) for each in ("", "auto", "N/A", None)),
        *(({"time_signature": each}, "time_signature", "4") for each in (4, "4", "4/4", "4/4 time")),
        ({"timeSignature": 3}, "time_signature", "3"),
        *(({"time_signature": each}, "time_signature", None) for each in ("", "auto")),
        ({"seed": 0}, "seed", 0),
    ],
)  # fmt: skip
def test_requests_are_read_the_same_way(sent: dict[str, Any], field: str, expected: Any) -> None:
    assert getattr(GenerateRequest.model_validate({"prompt": "x"} | sent), field) == expected


@pytest.mark.parametrize("sent", [{"seed": -1}, {"seed": "-1"}, {"seed": None}, {}])
def test_a_seed_is_random_unless_it_is_sent(sent: dict[str, Any]) -> None:
    seeds = {GenerateRequest.model_validate({"prompt": "x"} | sent).seed for _ in range(3)}
    assert len(seeds) == 3 and all(0 <= seed < 2**32 for seed in seeds)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(("bpm", "key", "time_signature", "seed"), VALUES)))
def test_any_request_is_read_or_refused_with_an_example(fields: dict[str, Any]) -> None:
    try:
        read = GenerateRequest.model_validate({"prompt": "x"} | fields)
    except ValidationError as error:
        sentence = describe_validation(
            [dict(each) for each in error.errors(include_context=False, include_input=False)]
        )
        assert "^" not in sentence.split(" can be read from ")[0] and "Value error" not in sentence
        return
    assert read.bpm is None or 30 <= read.bpm <= 300
    assert read.key is None or read.key in KEYS
    assert read.time_signature in (None, "2", "3", "4", "6")
