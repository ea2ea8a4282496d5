"""The twin of a whole job: the version that was best on held-out songs, with the scale that was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from adapters.adapter_file import Header
from adapters.library import Library
from contract import TrainRequest
from core import plain_json
from core.settings import Settings
from recipes.synthesiser import render, sample_song
from storage import Storage, keys
from tests.api import both_backends
from training.evaluation.scales import SCALES
from training.jobs.admission import Admission
from training.jobs.cancellation import Stop
from training.jobs.record import JobRecord
from training.run import run

pytestmark = pytest.mark.long

SONGS, STEPS = 3, 10


@pytest.fixture(autouse=True)
def environment(tiny: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    more = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "MAX_DURATION_SECONDS": "1", "TRAIN_CHECKPOINT_SECONDS": "0"}
    for name, value in (tiny | more).items():
        monkeypatch.setenv(name, value)


def _paths(store: Storage, folder: Path) -> list[str]:
    paths = []
    for number in range(SONGS):
        file = folder / f"{number}.wav"
        soundfile.write(file, render(sample_song(np.random.default_rng(number), "house"), 6, 44_100).T, 44_100)
        store.put_file(keys.upload("ada", "songs", file.name), file)
        paths.append(keys.to_path(keys.upload("ada", "songs", file.name)))
    return paths


def _job(store: Storage, paths: list[str], job_id: str, stop_at: int | None = None, **fields: Any) -> JobRecord:
    """Run an attempt at a job.

    Args:
        stop_at: the step at which the process is asked to stop.
    """
    request = {"producer_id": "ada", "model_name": job_id, "upload_paths": paths, "job_id": job_id, "max_steps": STEPS}
    record = Admission(store, Settings()).admit(TrainRequest.model_validate(request | {"learning_rate": 0.05} | fields))
    stop = Stop()

    def watch(record: JobRecord) -> None:
        if record.state == "training" and stop_at is not None and (record.step or 0) >= stop_at:
            stop.request()

    return run(record.job_id, record.attempt, store, Settings(), watch, stop)


def _header(store: Storage, job_id: str) -> Header:
    return Library(store).find(f"ada:{job_id}")[0].header


@both_backends
def test_the_twin_is_the_best_version_also_when_its_job_was_interrupted(
    store: Storage, tmp_path: Path, backend: str
) -> None:
    paths = _paths(store, tmp_path)
    done = _job(store, paths, "whole", backend_override=backend)
    assert done.state == "done", done.error
    report = plain_json.decode_object(store.get(keys.report("whole")))
    curve = {step: loss for step, loss in report["training"]["held_out_loss"] if step}
    best = min(curve, key=lambda step: curve[step])
    assert done.best_step == report["training"]["kept"]["step"] == best
    assert done.stopped_early == report["training"]["stopped_early"]
    assert (done.stopped_early is None) == (done.step == STEPS)
    header = _header(store, "whole")
    played_at = report["weakened"]["scale"] if report["weakened"] else report["scales"]["recommended"]
    assert header.partial == "" and header.recommended_scale == played_at
    assert [row["scale"] for row in report["scales"]["gains"]] == list(SCALES)

    last = _job(store, paths, "last", backend_override=backend, keep="last")
    assert (last.step, last.best_step, last.stopped_early) == (STEPS, None, None)
    assert (_header(store, "last").sha256 == header.sha256) == (best == STEPS)
    stopped = _job(store, paths, "again", backend_override=backend, stop_at=1)
    assert stopped.state == "failed" and "resume" in str(stopped.error)
    Admission(store, Settings()).resume("again")
    resumed = run("again", 1, store, Settings(), lambda record: None, Stop())
    assert (resumed.state, resumed.best_step, resumed.step) == ("done", best, done.step)
    assert _header(store, "again").sha256 == header.sha256
    assert _header(store, "again").recommended_scale == header.recommended_scale


def test_what_is_heard_is_reported_although_the_weaker_twin_cannot_be_played(
    store: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise MemoryError("no memory")

    monkeypatch.setattr("training.evaluation.evaluate.choose_by_ear", fail)
    done = _job(store, _paths(store, tmp_path), "half")
    assert done.state == "done", done.error
    report = plain_json.decode_object(store.get(keys.report("half")))
    assert report["weakened"] is None and report["heard"] and report["resemblance"] and report["comparisons"]
    assert any("when it is weaker: MemoryError: no memory" in sentence for sentence in report["unmeasured"])
