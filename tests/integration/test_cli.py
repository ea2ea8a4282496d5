"""The command line as a shell runs it: processes of cli.py, without a server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
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


ODD_NAMES = ("beat [/w artist].wav", "one, two.wav", " -x :cat:.wav", os.fsdecode(b"caf\xe9.wav"))


@pytest.mark.parametrize("backend", ["ace_step", pytest.param("musicgen", marks=pytest.mark.long)])
def test_a_twin_is_trained_on_files_with_odd_names_and_heard(
    tmp_path: Path, environment: dict[str, str], backend: str
) -> None:
    """Brackets, commas, spaces, a leading dash, an emoji's name, invalid UTF-8; and `~` for the home folder."""
    odd = [tmp_path / name for name in ODD_NAMES]
    for seed, file in enumerate([*odd, tmp_path / "home.wav", tmp_path / "plain.flac"]):
        music = render(sample_song(np.random.default_rng(seed), "house"), 4, 44_100).T
        file.parent.mkdir(exist_ok=True)
        with file.open("wb") as opened:
            soundfile.write(opened, music, 44_100, format=file.suffix[1:])
    trained = _cli(
        environment | {"HOME": str(tmp_path)},
        *("--task", "train", "--producer-id", "ada", "--model-name", backend, "--max-steps", 5, "--backend", backend),
        *(option for file in odd for option in ("--paths", file)),
        *("--paths", f"~/home.wav, {tmp_path}/plain.flac"),
    )
    assert trained.returncode == 0, trained.stderr
    result = json.loads(trained.stdout)
    assert result["lora_path"] == f"/data/loras/ada_{backend}.safetensors"
    uploads = Path(environment["STORAGE_URL"].removeprefix("file://"), "uploads", "ada", result["job_id"])
    assert sorted(file.name for file in uploads.iterdir()) == [
        *("00_w artist].wav", "01_one, two.wav", "02_-x :cat:.wav", "03_caf.wav", "04_home.wav", "05_plain.flac")
    ]
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


# Runs cli.py in a process for each list of options, which writes its stderr to a file. The processes are
# forked from one that has imported what they need, since most of a run is imports.
_EACH = """
import json, os, runpy, sys
import cli, generation.outbox, generation.pipeline
for number, options in enumerate(json.load(sys.stdin)):
    child = os.fork()
    if not child:
        os.dup2(os.open(f"{sys.argv[1]}/{number}", os.O_CREAT | os.O_WRONLY), sys.stderr.fileno())
        sys.argv = ["cli.py", *options]
        runpy.run_path("cli.py", run_name="__main__")
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.fixture(scope="module")
def mistaken(
    environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[str, ...], tuple[int, str]]:
    """The exit status and the stderr of each mistake's run."""
    folder = tmp_path_factory.mktemp("mistakes")
    options = [each for each, _ in MISTAKES]
    done = subprocess.run(
        [sys.executable, "-c", _EACH, str(folder)],
        cwd=ROOT,
        env=os.environ | environment,
        input=json.dumps(options),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    said = [(folder / str(number)).read_text() for number in range(len(options))]
    return dict(zip(options, zip(map(int, done.stdout.split()), said, strict=True), strict=True))


@pytest.mark.parametrize(("options", "named"), MISTAKES)
def test_mistakes_are_named(
    mistaken: dict[tuple[str, ...], tuple[int, str]], options: tuple[str, ...], named: str
) -> None:
    status, stderr = mistaken[options]
    assert status == 1
    assert "error:" in stderr and named in stderr.replace("\n", "")
    assert "Traceback" not in stderr


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
