"""The TypeScript client as users install it: its package in an empty folder, against a real server."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import soundfile

from core.settings import ROOT
from tests.api import PATIENCE, Api, beat
from tests.conftest import IS_WEB

CLIENT = ROOT / "clients" / "typescript"
KEY = IS_WEB["MUSIC_SERVICE_API_KEY"]
_BUILT = ("node_modules", "dist", "schema.ts")


def _run(folder: Path, *command: str, **variables: str) -> str:
    done = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | {"NO_PROXY": "127.0.0.1"} | variables,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the client's folder with its tools installed, beside the document that its types are made of."""
    root = tmp_path_factory.mktemp("typescript")
    folder = root / "clients" / "typescript"
    shutil.copytree(CLIENT, folder, ignore=shutil.ignore_patterns(*_BUILT))
    (root / "web").mkdir()
    shutil.copy(ROOT / "web" / "openapi.json", root / "web")
    _run(folder, "npm", "ci", "--no-audit", "--no-fund", "--loglevel=error")
    return folder


def test_its_own_tests_pass(source: Path) -> None:
    """They call every route of the OpenAPI document."""
    printed = _run(source, "npm", "test")
    assert re.search(r"^# pass [1-9]", printed, re.MULTILINE), printed


def test_the_program_of_the_readme(source: Path, api: Api, tmp_path: Path) -> None:
    package = _run(source, "npm", "pack", "--silent").split()[-1]
    (tmp_path / "package.json").write_text('{"type": "module"}')
    _run(tmp_path, "npm", "install", "--no-audit", "--no-fund", "--offline", str(source / package))
    assert not json.loads((tmp_path / "node_modules/producer-twin/package.json").read_text()).get("dependencies")
    program = re.search(r"```js\n(.*?)```", (CLIENT / "README.md").read_text(), re.DOTALL)
    assert program and len(program[1].splitlines()) <= 10
    (tmp_path / "beat.wav").write_bytes(beat(6))
    (tmp_path / "program.js").write_text(program[1].replace("http://127.0.0.1:3000", api.server.url))
    printed = _run(tmp_path, "node", "program.js", PRODUCER_TWIN_API_KEY=KEY)
    assert "done 4" in printed and "too little data" in printed, printed
    assert soundfile.info(tmp_path / "track.wav").duration == pytest.approx(2, abs=0.1)
