"""The Python client as users install it: its wheel in an environment of its own, against a real server."""

from __future__ import annotations

import json
import os
import re
import site
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

from core.settings import ROOT
from tests.api import PATIENCE, Api, beat
from tests.conftest import IS_WEB

CLIENT = ROOT / "clients" / "python"
KEY = IS_WEB["MUSIC_SERVICE_API_KEY"]


PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("client")
    command = [*PIP, "wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", folder / "dist"]
    source = folder / "source"  # setuptools writes beside the sources
    ignored = {"__pycache__", "build"}
    for file in CLIENT.rglob("*"):
        if file.is_file() and not ignored & set(file.parts) and ".egg-info" not in str(file):
            copy = source / file.relative_to(CLIENT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(file.read_bytes())
    _run([*command, source])
    (built,) = (folder / "dist").glob("producer_twin-*.whl")
    return built


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of an environment with the wheel, and with the packages that the wheel needs from this one."""
    folder = tmp_path_factory.mktemp("environment")
    _run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"])
    (packages,) = (folder / "venv").glob("lib/python*/site-packages")
    (packages / "below.pth").write_text("\n".join(site.getsitepackages()))
    python = folder / "venv" / "bin" / "python"
    _run([*PIP, "--python", python, "install", "--no-deps", "--no-index", wheel])
    return python.parent


def _run(
    command: list[object], folder: Path | None = None, code: int = 0, **variables: str
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env=os.environ | {"NO_PROXY": "127.0.0.1"} | variables,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done


@pytest.fixture
def songs(tmp_path: Path) -> list[Path]:
    """Files whose names have commas, brackets and what rich would read as markup."""
    files = [tmp_path / "one, two [take 3].wav", tmp_path / "three [red] :cat:.wav"]
    for number, file in enumerate(files):
        file.write_bytes(beat(5, number=number))
    return files


@pytest.mark.long
def test_the_program_of_the_readme_in_a_clean_environment(wheel: Path, api: Api, tmp_path: Path) -> None:
    """The packages that it needs come from PyPI."""
    _run([sys.executable, "-m", "venv", tmp_path / "clean"])
    python = tmp_path / "clean" / "bin" / "python"
    _run([python, "-m", "pip", "--disable-pip-version-check", "--quiet", "install", f"{wheel}[cli]"])
    _check_program(python, api, tmp_path)
    command = [python.parent / "producer-twin", "--url", api.server.url, "--api-key", KEY, "twins", "list", "--json"]
    assert "ada:night" in _run(command, tmp_path).stdout


def _check_program(python: Path, api: Api, tmp_path: Path) -> None:
    """Run the program of the README in the folder, and check what it made."""
    program = re.search(r"```python\n(.*?)```", (CLIENT / "README.md").read_text(), re.DOTALL)
    assert program and len(program[1].splitlines()) <= 10
    (tmp_path / "beat.wav").write_bytes(beat(6))
    (tmp_path / "program.py").write_text(program[1].replace("http://127.0.0.1:3000", api.server.url))
    done = _run([python, "program.py"], tmp_path, PRODUCER_TWIN_API_KEY=KEY)
    assert "done 4" in done.stdout and "too little data" in done.stdout, done.stdout
    assert soundfile.info(tmp_path / "track.wav").duration == pytest.approx(2, abs=0.1)


@pytest.mark.long
def test_the_commands(environment: Path, api: Api, songs: list[Path], tmp_path: Path) -> None:
    def command(*arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
        return _run(
            [environment / "producer-twin", *arguments],
            tmp_path,
            code,
            PRODUCER_TWIN_URL=api.server.url,
            PRODUCER_TWIN_API_KEY=KEY,
        )

    trained = command("train", *(song.name for song in songs), "-p", "cli", "-m", "night", "--max-steps", 2)
    assert "cli:night is ready" in trained.stdout and "training" in trained.stderr
    (job,) = json.loads(command("jobs", "list", "--producer", "cli", "--json").stdout)
    assert (job["state"], job["step"]) == ("done", 2)
    command("jobs", "report", job["job_id"], "--page", "report.html")
    assert "<html" in (tmp_path / "report.html").read_text()

    made = command("generate", "dark trap", "-t", "cli:night", "-s", 2, "--seed", 7, "-o", "a [/w].mp3", "--json")
    assert json.loads(made.stdout)["seed"] == 7
    assert soundfile.info(tmp_path / "a [/w].mp3").format == "MP3"

    # Seconds 1 to 2 of a file whose name has commas and brackets, made anew.
    repaint = ("--task", "repaint", "--start", 1, "--end", 2, "-t", "cli:night")
    command("edit", songs[0].name, "drum fill", *repaint, "-o", "edited.wav")
    (own, rate), (edited, _) = (soundfile.read(path, dtype="int16") for path in (songs[0], tmp_path / "edited.wav"))
    assert (edited[:rate] == own[:rate]).all() and (edited[2 * rate :] == own[2 * rate :]).all()
    assert (edited[rate : 2 * rate] != own[rate : 2 * rate]).any()

    command("twins", "export", "cli:night", "-o", "night.safetensors")
    command("twins", "import", "cli:again", "night.safetensors")
    assert {row["lora_id"] for row in json.loads(command("twins", "list", "--producer", "cli", "--json").stdout)} == {
        "cli:night",
        "cli:again",
    }
    command("twins", "delete", "cli:again", "--yes")
    assert "cli:again" in command("twins", "show", "cli:again", code=1).stderr

    checks = {check["name"]: check for check in json.loads(command("doctor", "--json").stdout)["checks"]}
    assert checks["reached"]["result"] == checks["ace_step"]["result"] == checks["scope train"]["result"] == "ok"


def test_keys_of_a_service_on_this_machine(environment: Path, tmp_path: Path) -> None:
    keys = [environment / "producer-twin", "--home", ROOT, "keys"]
    stored = {"STORAGE_URL": (tmp_path / "data").as_uri()}
    token = _run([*keys, "create", "web", "--scope", "generate"], tmp_path, 0, **stored).stdout.strip()
    listed = _run([*keys, "list"], tmp_path, 0, **stored).stdout
    assert "web: generate" in listed and token.split("_")[1] in listed
