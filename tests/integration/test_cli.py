"""The command line as a shell runs it: processes of cli.py, without a server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile

from core.settings import ROOT
from recipes.synthesiser import render, sample_song
from tests.api import PATIENCE


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory, tiny: dict[str, str]) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("cli")
    return tiny | {"STORAGE_URL": (folder / "data").as_uri(), "BENTOML_HOME": str(folder / "bentoml")}


def _cli(environment: dict[str, str], *options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "cli.py", *map(str, options)],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


@pytest.mark.parametrize("backend", ["ace_step", pytest.param("musicgen", marks=pytest.mark.long)])
def test_a_twin_is_trained_and_heard(tmp_path: Path, environment: dict[str, str], backend: str) -> None:
    beats = [tmp_path / "one.wav", tmp_path / "two.flac"]
    for seed, beat in enumerate(beats):
        soundfile.write(beat, render(sample_song(np.random.default_rng(seed), "house"), 8, 44_100).T, 44_100)
    trained = _cli(
        environment,
        *("--task", "train", "--producer-id", "ada", "--paths", f"{beats[0]},{beats[1]}"),
        *("--model-name", backend, "--max-steps", 5, "--backend", backend),
    )
    assert trained.returncode == 0, trained.stderr
    assert json.loads(trained.stdout)["lora_path"] == f"/data/loras/ada_{backend}.safetensors"
    assert "5/5" in trained.stderr

    tracks = []
    for number, twin in enumerate([(), ("--lora-id", f"ada:{backend}")]):
        out = tmp_path / f"{number}.flac"
        options = ("--task", "generate", "--prompt", "house", "--duration", 2, "--seed", 1, "--backend", backend)
        made = _cli(environment, *options, "--out", out, *twin)
        assert made.returncode == 0, made.stderr
        audio, rate = soundfile.read(out)
        assert len(audio) == 2 * rate
        tracks.append(audio)
    assert not np.array_equal(*tracks)


MISTAKES: list[tuple[tuple[str, ...], str]] = [
    (("--task", "train", "--producer-id", "ada"), "--paths"),
    (("--task", "train", "--producer-id", "ada", "--paths", "/no/such.wav"), "/no/such.wav"),
    (("--task", "train", "--producer-id", "../a", "--paths", __file__), "producer_id"),
    (("--task", "train", "--producer-id", "ada", "--paths", __file__), "test_cli.py"),
    (("--task", "migrate"), "--from"),
    (("--task", "migrate", "--from", "/no/such"), "/no/such"),
    (("--task", "generate"), "prompt"),
    (("--task", "generate", "--prompt", "x", "--lora-id", "ada:absent"), "ada:absent"),
    (("--task", "generate", "--prompt", "x", "--out", "track.xyz"), "output_format"),
    (("--task", "generate", "--prompt", "x", "--out", "track"), "--out"),
    (("--task", "generate", "--prompt", "x", "--out", "."), "--out: . is a folder"),
    (("--task", "generate", "--prompt", "x", "--out", f"{__file__}/x.wav"), "--out"),
    (("--task", "generate", "--prompt", "x", "--out", f"{'x' * 300}.wav"), "--out"),
    (("--task", "generate", "--prompt", "x", "--key", "[/w]"), '"[/w]"'),
    (("--task", "train", "--producer-id", "ada", "--paths", "beat [/w artist].wav"), "beat [/w artist].wav"),
    (("--task", "train", "--producer-id", "ada", "--paths", "a :cat: [red].wav"), "a :cat: [red].wav"),
    (("--task", "train", "--producer-id", "ada", "--paths", "no,ne"), "a --paths of its own"),
    (("--task", "train", "--producer-id", "ada", "--paths", ",".join(["x" * 99] * 50)), "there is no file"),
    (("--task", "train", "--producer-id", "ada", "--paths", "."), "is a folder"),
    (("--task", "train", "--producer-id", "ada", "--paths", "~no~one/x.wav"), "~no~one/x.wav"),
    (("--task", "train", "--producer-id", "ada", "--paths", "-x\udcff\x1b[2J.wav"), "-x??[2J.wav"),
    (("--task", "train", "--producer-id", "ada", "--paths", __file__, "--paths", "[/none]"), "[/none]"),
    (("--task", "import", "--paths", "[/a]", "--out", "[/b]"), "[/a]"),
    (("--task", "import", "--paths", "a", "--paths", "b", "--out", "c"), "--paths"),
]


@pytest.fixture(scope="module")
def mistaken(environment: dict[str, str]) -> dict[tuple[str, ...], subprocess.CompletedProcess[str]]:
    """Each mistake's run, two at a time, since most of a run is imports."""
    options = [each for each, _ in MISTAKES]
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(options, pool.map(lambda each: _cli(environment, *each), options), strict=True))


@pytest.mark.parametrize(("options", "named"), MISTAKES)
def test_mistakes_are_named(
    mistaken: dict[tuple[str, ...], subprocess.CompletedProcess[str]], options: tuple[str, ...], named: str
) -> None:
    done = mistaken[options]
    assert done.returncode == 1
    assert "error:" in done.stderr and named in done.stderr.replace("\n", "")
    assert "Traceback" not in done.stderr


def test_files_with_odd_names_are_trained_on(tmp_path: Path, environment: dict[str, str]) -> None:
    """Brackets, commas, spaces, a leading dash, an emoji's name, invalid UTF-8; and `~` for the home folder."""
    names = ["beat [/w artist].wav", "one, two.wav", " -x :cat:.wav", os.fsdecode(b"caf\xe9.wav")]
    files = [tmp_path / name for name in names]
    for seed, file in enumerate([*files, tmp_path / "home.wav", tmp_path / "plain.wav"]):
        music = render(sample_song(np.random.default_rng(seed), "house"), 4, 44_100).T
        file.parent.mkdir(exist_ok=True)
        with file.open("wb") as opened:
            soundfile.write(opened, music, 44_100, format="wav")
    named = [option for file in files for option in ("--paths", file)]
    trained = _cli(
        environment | {"HOME": str(tmp_path)},
        *("--task", "train", "--producer-id", "odd", "--max-steps", 1, "--backend", "musicgen"),
        *(*named, "--paths", f"~/home.wav, {tmp_path}/plain.wav"),
    )
    assert trained.returncode == 0, trained.stderr
    job = json.loads(trained.stdout)["job_id"]
    uploads = Path(environment["STORAGE_URL"].removeprefix("file://"), "uploads", "odd", job)
    stored = sorted(file.name for file in uploads.iterdir())
    assert stored == [
        *("00_w artist].wav", "01_one, two.wav", "02_-x :cat:.wav", "03_caf.wav", "04_home.wav", "05_plain.wav")
    ]


def test_a_track_is_written_where_it_is_asked_for(tmp_path: Path, environment: dict[str, str]) -> None:
    options = ("--task", "generate", "--prompt", "house", "--duration", 1, "--backend", "musicgen", "--seed", -1)
    made = _cli(
        environment, *options, "--bpm", "120.5", "--key", "8A", "--out", tmp_path / "new [/x]" / "deep" / "x.MP3"
    )
    assert made.returncode == 0, made.stderr
    assert "new [/x]/deep/x.MP3: 1.0 s" in made.stdout
    assert soundfile.info(tmp_path / "new [/x]" / "deep" / "x.MP3").format == "MP3"


def test_a_refused_track_leaves_no_file_and_keeps_the_one_there(tmp_path: Path, environment: dict[str, str]) -> None:
    kept = tmp_path / "kept.wav"
    kept.write_bytes(b"mine")
    for out in (kept, tmp_path / "new.wav"):
        refused = _cli(environment, "--task", "generate", "--prompt", "x", "--lora-id", "ada:absent", "--out", out)
        assert refused.returncode == 1 and "ada:absent" in refused.stderr
    assert kept.read_bytes() == b"mine" and list(tmp_path.iterdir()) == [kept]
