"""The report's section on the music: its songs, where their captions are from, and warnings with what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from preprocessing.captions import Caption, ClipInfo, caption
from preprocessing.dataset import Clip, Dataset
from training.evaluation.data_section import data_section

LITTLE = "little is known of this song; state its genre"


def file(name: str, **changes: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {"source": f"/data/uploads/ada/x/{name}.wav", "seconds": 100.0, "sample_rate": 48_000}
    fields |= {"metadata": {}, "embedded": {}, "duplicate_of": None, "warnings": [], "analysis": {}}
    return fields | changes


def section(files: list[dict[str, Any]], captions: list[tuple[int, Caption]], held_out: set[int]) -> dict[str, Any]:
    clips = [Clip(Path("x.wav"), caption, 15.0, song) for song, caption in captions]
    return data_section(Dataset(clips, {"files": files}), held_out, [False] * len(clips))


def test_songs_are_told_with_the_sources_of_their_tempo_key_and_words() -> None:
    analysis = {"bpm": 95.0, "bpm_confidence": 0.96, "bpm_alternative": 190.0, "key": "A minor", "key_confidence": 0.2}
    files = [file("one", analysis=analysis, embedded={"title": "Dawn", "genre": "techno"}), file("two")]
    heard = [caption(ClipInfo("", {}, analysis, "synth", "tagger", files[0]["embedded"])) for _ in range(2)]
    heard.append(caption(ClipInfo("", {}, analysis, "", "tagger", files[0]["embedded"])))
    data = section(files, [*((0, each) for each in heard), (1, caption(ClipInfo("140bpm_Cm.wav")))], {1})
    first, second = data["by_song"]
    assert (first["name"], first["held_out"], first["segments"]) == ("Dawn", False, 3)
    assert first["tempo"] == {"value": 95.0, "source": "analysis", "confidence": 0.96, "alternative": 190.0}
    assert first["key"] == {"value": "A minor", "source": None, "confidence": 0.2, "alternative": None}
    assert first["words"] == [
        {"text": "techno", "source": "embedded", "segments": 3},
        {"text": "synth", "source": "tagger", "segments": 2},
    ]
    assert (second["name"], second["held_out"], second["words"]) == ("two", True, [])
    assert second["tempo"] == {"value": 140, "source": "name", "confidence": None, "alternative": None}
    assert data["set_aside"] == ["/data/uploads/ada/x/two.wav"] and data["trained_seconds"] == 45.0


def test_warnings_name_songs_and_say_once_what_several_have_in_common() -> None:
    files = [file(name, warnings=[LITTLE]) for name in "abcdefg"]
    files += [file("copy", duplicate_of=0), file("loud", analysis={"clipped": 100_000, "silent": 50.0}), file("short")]
    plain = caption(ClipInfo())
    data = section(files, [(song, plain) for song in (*range(7), 8)], {0})
    assert data["warnings"] == [
        f"a, b, c, d, e and 2 more: {LITTLE}",
        "copy: it is the same as a and was left out",
        "loud: it is clipped (100000 samples at full scale): the twin will learn the distortion; "
        "send a version with headroom",
        "loud: it is silent for 50 of its 100 seconds",
        "short: there is nothing to learn from: it is too short or silent",
    ]
    both = section([file("a", warnings=[LITTLE]), file("b", warnings=[LITTLE])], [(0, plain), (1, plain)], set())
    assert both["warnings"][0] == f"a and b: {LITTLE}" and "fewer than 3 songs" in both["warnings"][-1]
