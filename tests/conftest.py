"""Fixtures of all tests, and the environment that they run in."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

import models  # noqa: F401 - sets how threads wait before anything imports torch
from scripts.serving import tiny_checkpoints
from scripts.web import key_for_web
from storage import Storage, open_storage
from tests.api import ACE_STEP_ONLY, Api, Json, beat, running

# A model store of the tests, so that they leave the user's alone. BentoML reads the variable when it is imported.
_model_store = tempfile.TemporaryDirectory(prefix="bentoml-")
os.environ["BENTOML_HOME"] = _model_store.name

# No deadline, since a busy machine slows examples down. The examples are the same in every run, so that a test fails
# only for a change of the code; HYPOTHESIS_PROFILE=further looks for new ones.
_any = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("repeatable", _any, derandomize=True)
settings.register_profile("further", _any, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))


# Their tests share servers and trained twins, which take minutes to make.
_IN_ONE_PROCESS = ("tests/integration/contract/", "tests/integration/refusals/", "tests/integration/test_takes.py")


class _ByFile(LoadFileScheduling):  # type: ignore[misc]  # xdist is untyped
    """Runs all tests of a file in one process, so that its fixtures are made once."""

    def _split_scope(self, nodeid: str) -> str:
        return "servers" if nodeid.startswith(_IN_ONE_PROCESS) else super()._split_scope(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling | None:
    return _ByFile(config, log) if config.getvalue("dist") == "loadfile" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test by its folder."""
    unit = Path(__file__).parent / "unit"
    for item in items:
        item.add_marker("unit" if unit in item.path.parents else "integration")


@pytest.fixture
def store(tmp_path: Path) -> Storage:
    return open_storage((tmp_path / "store").as_uri())


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment variables that serve tiny checkpoints of the real architectures."""
    return tiny_checkpoints(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def api(tmp_path_factory: pytest.TempPathFactory, tiny: dict[str, str]) -> Iterator[Api]:
    """A running service with default settings, tiny models and the web app's key."""
    with running(tmp_path_factory.mktemp("service"), tiny | KNOWS_WEB) as service:
        yield service


KNOWS_WEB, IS_WEB = key_for_web()
PASSWORD = "öpen sesame"
STRICT = {
    "NAWFSIDE_APP_PASSWORD": PASSWORD,
    "MAX_BODY_BYTES": "300000",
    "MAX_UPLOAD_BYTES": "100000",
    "MAX_DURATION_SECONDS": "3",
    "PRODUCER_MAX_BYTES": "150000",
    **ACE_STEP_ONLY,
}


@pytest.fixture(scope="session")
def strict(tmp_path_factory: pytest.TempPathFactory, tiny: dict[str, str]) -> Iterator[Api]:
    """A running service whose operator set a password and every limit."""
    with running(tmp_path_factory.mktemp("strict"), tiny | STRICT | KNOWS_WEB, backends=("ace_step",)) as service:
        yield service


@dataclass(frozen=True)
class Twin:
    """A trained twin.

    Attributes:
        backend: the backend that it was trained on.
        request: the body that was sent.
        submitted: the answer of /train/submit; None for one trained by /train.
        result: the job's result.
    """

    backend: str
    request: Json
    submitted: Json | None
    result: Json

    @property
    def lora_id(self) -> str:
        return f"{self.result['producer_id']}:{self.result['model_name']}"


@pytest.fixture(scope="session")
def twins(api: Api) -> dict[str, Twin]:
    """A twin for each backend: ACE-Step's by /train/submit from WAV and FLAC, MusicGen's by /train from MP3."""
    wav = api.upload("studio", beat(20), job_id="takes", filename="beat.wav")
    flac = api.upload("studio", beat(180, "FLAC", number=8), job_id="takes", filename="set.flac")
    mp3 = api.upload("studio", beat(30, "MP3", number=9, rate=44_100), job_id="takes", filename="loop.mp3")
    task: Json = {
        "producer_id": "studio",
        "model_name": "ace_twin",
        "upload_paths": [wav, flac],
        "metadata_per_file": [{"title": "Beat", "bpm": 140}],
        "job_id": "ace-job",
        "max_steps": 8,
    }
    waiting: Json = {
        "producerId": "studio",
        "modelName": "music_twin",
        "uploadPaths": [mp3],
        "metadataPerFile": None,
        "jobId": "music-job",
        "backendOverride": "musicgen",
        "maxSteps": 8,
    }
    submitted = api.post("/train/submit", **task)
    music = api.post("/train", **waiting)
    job = api.ended(submitted["task_id"])
    assert job["state"] == "done", job
    return {
        "ace_step": Twin("ace_step", task, submitted, job["result"]),
        "musicgen": Twin("musicgen", waiting, None, music),
    }
