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
from tests.api import PATIENCE, Api, beat, wait_until
from tests.conftest import IS_WEB
from tests.lossy_proxy import Loss, lossy

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


@pytest.fixture(scope="module")
def installed(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the package is installed, as users install it."""
    folder = tmp_path_factory.mktemp("installed")
    package = _run(source, "npm", "pack", "--silent").split()[-1]
    (folder / "package.json").write_text('{"type": "module"}')
    _run(folder, "npm", "install", "--no-audit", "--no-fund", "--offline", str(source / package))
    (folder / "beat.wav").write_bytes(beat(6))
    return folder


def test_the_program_of_the_readme(installed: Path, api: Api) -> None:
    assert not json.loads((installed / "node_modules/producer-twin/package.json").read_text()).get("dependencies")
    program = re.search(r"```js\n(.*?)```", (CLIENT / "README.md").read_text(), re.DOTALL)
    assert program and len(program[1].splitlines()) <= 10
    (installed / "program.js").write_text(program[1].replace("http://127.0.0.1:3000", api.server.url))
    printed = _run(installed, "node", "program.js", PRODUCER_TWIN_API_KEY=KEY)
    assert "done 4" in printed and "too little data" in printed, printed
    assert soundfile.info(installed / "track.wav").duration == pytest.approx(2, abs=0.1)


MAKES = """
import { readFile } from "node:fs/promises";
import { ProducerTwin } from "producer-twin";
const studio = new ProducerTwin({ retry: { baseSeconds: 0.01 } });
const song = new File([await readFile("beat.wav")], "beat.wav");
const { path } = await studio.uploads.upload("tslossy", song);
await studio.uploads.store("tslossy", song, { filename: "again.wav" });
const job = await studio.training.submit("tslossy", [path]);
await studio.jobs.cancel(job.job_id);
const tracks = [
  (await studio.generate("currawong", { duration_seconds: 1 })).output_path,
  (await studio.generate("currawong", { task: "repaint", start: 1, end: 2 }, { source: song })).output_path,
];
const submitted = await studio.tracks.submit("currawong", { duration_seconds: 1 });
console.log(JSON.stringify({ job: job.job_id, tracks, submitted: submitted.track_id }));
"""


@pytest.mark.parametrize("loss", ["closed", 504])
def test_nothing_is_made_twice_where_answers_are_lost(installed: Path, api: Api, loss: Loss) -> None:
    words, producer = f"currawong{loss}", f"tslossy{loss}"
    (installed / "makes.js").write_text(MAKES.replace("currawong", words).replace("tslossy", producer))
    with lossy(api.server.url, loss) as proxy:
        printed = _run(installed, "node", "makes.js", PRODUCER_TWIN_URL=proxy.url, PRODUCER_TWIN_API_KEY=KEY)
        paths = ("/uploads", "/store-upload", "/train/submit", "/generate", "/generate/form", "/generate/submit")
        assert set(paths) <= set(proxy.lost)
    made = json.loads(printed)
    wait_until(lambda: "output_path" in api.get(f"/tracks/{made['submitted']}"))
    tracks = [*made["tracks"], api.get(f"/tracks/{made['submitted']}")["output_path"]]
    assert sorted(track["output_path"] for track in api.get("/tracks", text=words)["tracks"]) == sorted(tracks)
    assert [job["job_id"] for job in api.get("/jobs", producer_id=producer)["jobs"]] == [made["job"]]
    assert len(list((api.folder / "uploads" / producer).rglob("*.wav"))) == 2
