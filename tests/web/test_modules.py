"""The page's own rules, which have to be the service's: the default steps of a training, and a twin's tempo."""

from __future__ import annotations

import json
import random
import subprocess
from pathlib import Path
from typing import Any

import playwright
import pytest

from preprocessing.musical_key import KEYS
from runners import TABLE
from scripts.web import WEB
from storage import keys
from training.base import MAX_DEFAULT_STEPS, MIN_DEFAULT_STEPS, steps_for
from training.evaluation import ratings
from training.evaluation.held_out import choose_held_out

# Playwright's Node runs TypeScript; the oldest one that the app supports does not.
NODE = Path(playwright.__file__).parent / "driver" / "node"
RUN = """
import { readFileSync } from "node:fs";
const [module, name] = process.argv.slice(1);
const called = (await import(module))[name];
console.log(JSON.stringify(JSON.parse(readFileSync(0, "utf8")).map((parameters) => called(...parameters))));
"""


def call(module: str, name: str, *calls: tuple[Any, ...]) -> list[Any]:
    """The results of a function of a module in web/lib/, which imports nothing but types."""
    done = subprocess.run(
        [NODE, "--input-type=module", "-e", RUN, WEB / "lib" / module, name],
        input=json.dumps(calls),
        capture_output=True,
        text=True,
        check=True,
    )
    results: list[Any] = json.loads(done.stdout)
    return results


def test_the_page_estimates_the_steps_that_the_service_takes() -> None:
    rng = random.Random(1)
    songs = [[rng.uniform(1, 400) for _ in range(count)] for count in range(1, 41) for _ in range(5)]
    songs += [[30.0] * 20, [30.0] * 12, [600.0, 600.0, 600.0], [500.0, 20.0, 30.0]]

    def steps(lengths: list[float]) -> int:
        # The page does not know the digests, and takes the songs as they come.
        held_out = choose_held_out([(song, f"{song:03}", seconds) for song, seconds in enumerate(lengths)])
        return steps_for(sum(seconds for song, seconds in enumerate(lengths) if song not in held_out), "ace_step")

    training = {
        "steps_per_second": TABLE["ace_step"].training_steps_per_second,
        "min_steps": MIN_DEFAULT_STEPS,
        "max_steps": MAX_DEFAULT_STEPS,
    }
    estimated = call("trainingSteps.ts", "trainingSteps", *[(training, lengths) for lengths in songs])
    assert estimated == [steps(lengths) for lengths in songs]


@pytest.mark.parametrize(
    ("parts", "bpm"),
    [
        ({}, None),
        ({"fast": 100}, 150),
        ({"old": 100}, None),
        ({"fast": 50, "slow": 50}, 150),
        ({"fast": 30, "slow": 70}, 80),
        ({"fast": 30, "old": 70}, 150),
        ({"old": 20, "fast": 30, "slow": 50}, 80),
    ],
)
def test_the_page_shows_the_tempo_that_the_service_takes(parts: dict[str, int], bpm: int | None) -> None:
    twins = [{"lora_id": "fast", "bpm": 150}, {"lora_id": "slow", "bpm": 80}, {"lora_id": "old", "bpm": None}]
    blend = [{"id": name, "share": share} for name, share in parts.items()]
    assert call("settings.ts", "defaultBpm", (blend, twins)) == [bpm]


def test_the_percents_of_a_blend_add_up_to_100() -> None:
    rng = random.Random(2)
    blends = [[rng.uniform(0.01, 2) for _ in range(count)] for count in range(1, 9) for _ in range(50)]
    blends += [[1.0, 1.0, 1.0], [5.0] * 7, [0.625, 0.375], [1.0, -0.5, 0.3]]
    found = call("settings.ts", "percentsOf", *[(blend,) for blend in blends])
    for blend, percents in zip(blends, found, strict=True):
        whole = sum(map(abs, blend))
        assert sum(map(abs, percents)) == 100
        assert all(abs(percent - 100 * share / whole) < 1 for share, percent in zip(blend, percents, strict=True))
    assert call("settings.ts", "percentsOf", ([0.625, 0.375],), ([],), ([0, 0],)) == [[63, 37], [], [0, 0]]


def test_ids_of_tracks_are_the_services() -> None:
    for key in ("outputs/base/a.wav", "outputs/twins/ada/b-c.flac", "outputs/made/user-1/d.mp3"):
        assert call("trackId.ts", "trackId", (keys.to_path(key),)) == [keys.track_id(key)]


def test_the_page_judges_the_amount_of_music_as_the_report_does() -> None:
    levels = {"bad": "tooLittle", "fair": "fair", "good": "enough"}
    cases = [[seconds] * count for count in (1, 2, 3, 9, 10, 30) for seconds in (1.0, 6.0, 7.0, 19.0, 60.0)]
    for lengths, found in zip(cases, call("musicAmount.ts", "musicAmount", *[(each,) for each in cases]), strict=True):
        words = {ratings.songs(len(lengths)).word, ratings.trained_seconds(sum(lengths)).word}
        worst = next(word for word in levels if word in words)
        assert found["level"] == levels[worst]


def test_keys_have_their_german_names() -> None:
    names = {
        **{"C": "C", "C#": "Cis", "D": "D", "D#": "Dis", "E": "E", "E#": "Eis", "F": "F", "F#": "Fis", "G": "G"},
        **{"G#": "Gis", "A": "A", "A#": "Ais", "B": "H", "B#": "His"},
        **{"Cb": "Ces", "Db": "Des", "Eb": "Es", "Fb": "Fes", "Gb": "Ges", "Ab": "As", "Bb": "B"},
    }
    german = {f"{note} major": f"{name}-Dur" for note, name in names.items()}
    german |= {f"{note} minor": f"{name.lower()}-Moll" for note, name in names.items()}
    assert set(KEYS) < set(german)
    others = ["", "a tone", "8A", "C", "constructor major", "C minor, then D minor"]
    assert call("keyName.ts", "keyName", *[(key, "de") for key in [*german, *others]]) == [*german.values(), *others]
    assert call("keyName.ts", "keyName", *[(key, "en") for key in [*german, *others]]) == [*german, *others]
