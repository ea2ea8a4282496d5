"""The programs in examples/, and the README's four requests, against a real server: they are run as users run them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import nbclient
import nbformat
import pytest
import soundfile

from core.settings import ROOT
from tests.api import PATIENCE, Api, beat
from tests.conftest import IS_WEB

EXAMPLES = ROOT / "examples"
KEY = IS_WEB["MUSIC_SERVICE_API_KEY"]
DEFAULT_URL = "http://127.0.0.1:3000"


def run(command: list[str | Path], folder: Path) -> str:
    """What the command printed. It has to end well."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env=os.environ | {"NO_PROXY": "127.0.0.1", "PYTHONPATH": str(ROOT / "clients" / "python" / "src")},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def seconds(track: Path) -> float:
    return float(soundfile.info(track).duration)


@pytest.fixture
def song(tmp_path: Path) -> Path:
    path = tmp_path / "beat.wav"
    path.write_bytes(beat(20))
    return path


def test_python(api: Api, song: Path, tmp_path: Path) -> None:
    script = EXAMPLES / "upload_train_generate.py"
    options = ["--url", api.server.url, "--key", KEY, "--producer", "example", "--max-steps", "4", "--seconds", "2"]
    printed = run([sys.executable, script, song, *options], tmp_path)
    assert "step 4 of 4" in printed and "too little data" in printed, printed
    assert seconds(tmp_path / "track.wav") == pytest.approx(2, abs=0.1)


def test_curl(api: Api, song: Path, tmp_path: Path) -> None:
    script = EXAMPLES / "upload_train_generate.sh"
    options = ["--url", api.server.url, "--key", KEY, "--max-steps", "4"]
    printed = run([script, *options, song, "track.wav"], tmp_path)
    assert '"done"' in printed, printed
    assert seconds(tmp_path / "track.wav") == pytest.approx(10, abs=0.1)


def test_curl_says_why_not(api: Api, tmp_path: Path) -> None:
    (tmp_path / "noise.wav").write_bytes(b"no sound")
    command: list[str | Path] = [
        EXAMPLES / "upload_train_generate.sh",
        "--url",
        api.server.url,
        "noise.wav",
        "track.wav",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode != 0 and '"error"' in done.stdout, done


def test_blend(api: Api, song: Path, tmp_path: Path) -> None:
    for model in ("night", "dawn"):
        path = api.upload("blender", song.read_bytes(), filename=f"{model}.wav")
        api.post("/train", producer_id="blender", model_name=model, upload_paths=[path], max_steps=2)
    options = ["--weights", "1", "0.5", "--url", api.server.url, "--seconds", "2", "--out", "tracks"]
    run([sys.executable, EXAMPLES / "blend.py", "blender:night", "blender:dawn", *options], tmp_path)
    for name in ("first", "second", "blend"):
        assert seconds(tmp_path / "tracks" / f"{name}.wav") == pytest.approx(2, abs=0.1)


def test_edit(api: Api, song: Path, tmp_path: Path) -> None:
    script = EXAMPLES / "edit.py"
    printed = run([sys.executable, script, song, "--reference", song, "--url", api.server.url, "--key", KEY], tmp_path)
    for name, expected in (("repaint", 20), ("extend", 24), ("reference", 8)):
        assert f"{name}.wav" in printed and seconds(tmp_path / "edits" / f"{name}.wav") == pytest.approx(
            expected, abs=0.1
        )


@pytest.mark.long
def test_notebook(api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its cells are executed in order, as a reader would."""
    for number, name in enumerate(("beat.wav", "other.wav")):
        (tmp_path / name).write_bytes(beat(6, number=number))
    monkeypatch.setenv("PRODUCER_TWIN_URL", api.server.url)
    monkeypatch.setenv("PRODUCER_TWIN_API_KEY", KEY)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "clients" / "python" / "src"))
    notebook = nbformat.read(EXAMPLES / "twin.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "clear its outputs"
    nbclient.NotebookClient(notebook, timeout=PATIENCE, resources={"metadata": {"path": tmp_path}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    players = [output for output in outputs if "<audio" in output.get("data", {}).get("text/html", "")]
    assert len(players) == 4
    printed = "".join(output.get("text", "") for output in outputs)
    assert "done 4" in printed and "too little data" in printed
    assert "<html" in (tmp_path / "report.html").read_text() and seconds(tmp_path / "edited.wav") == 4


def test_the_four_requests_of_the_readme(api: Api, song: Path, tmp_path: Path) -> None:
    text = (ROOT / "README.md").read_text()
    section = text[text.index("## A twin in four requests") :]
    found = re.search(r"```bash\n(.*?)```", section, re.DOTALL)
    assert found
    script = found[1].replace(DEFAULT_URL, api.server.url).replace('"job_id"', '"max_steps": 4, "job_id"')
    run(["bash", "-ec", script], tmp_path)
    assert seconds(tmp_path / "track.wav") == pytest.approx(30, abs=0.1)
