"""The command line, as a shell runs it, without a server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from models.starter.synthesiser import render, sample_song
from settings import ROOT
from tests.api import PATIENCE


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("cli")
    return {"STORAGE_URL": (folder / "data").as_uri(), "BENTOML_HOME": str(folder / "bentoml")}


def _cli(environment: dict[str, str], *options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "cli.py", *map(str, options)],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


@pytest.mark.parametrize("backend", ["ace_step", "musicgen"])
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


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--task", "train", "--producer-id", "ada"), "--paths"),
        (("--task", "train", "--producer-id", "ada", "--paths", "/no/such.wav"), "/no/such.wav"),
        (("--task", "train", "--producer-id", "../a", "--paths", __file__), "producer_id"),
        (("--task", "train", "--producer-id", "ada", "--paths", __file__), "test_cli.py"),
        (("--task", "migrate"), "--from"),
        (("--task", "migrate", "--from", "/no/such"), "/no/such"),
        (("--task", "generate"), "prompt"),
        (("--task", "generate", "--prompt", "x", "--lora-id", "ada:absent"), "ada:absent"),
        (("--task", "generate", "--prompt", "x", "--out", "track.xyz"), "output_format"),
    ],
)
def test_mistakes_are_named(environment: dict[str, str], options: tuple[str, ...], named: str) -> None:
    done = _cli(environment, *options)
    assert done.returncode == 1
    assert "error:" in done.stderr and named in done.stderr.replace("\n", "")
    assert "Traceback" not in done.stderr
