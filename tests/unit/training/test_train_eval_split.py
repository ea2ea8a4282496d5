"""A measurement that fails while the examples are made fails no job."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from contract import TrainRequest
from models.ace_step import AceStep
from storage import Storage
from tests.sounds import written
from tests.unit.preprocessing.helpers import make, tone
from training.evaluation import reference
from training.evaluation.report import Report
from training.jobs.record import JobRecord
from training.train_eval_split import split_dataset


class _Cache:
    def add(self, *_: Any) -> Path:
        return Path("none")


def test_an_excerpt_that_cannot_be_measured_is_reported(
    store: Storage, tmp_path: Path, model: AceStep, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put("uploads/p/u/one.wav", written(tone(31)))
    made = make(store, tmp_path, upload_paths=["/data/uploads/p/u/one.wav"])
    calls = 0

    def reconstruct(audio: NDArray[np.float32]) -> NDArray[np.float32]:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise RuntimeError("out of memory")
        return audio

    monkeypatch.setattr(model, "reconstruct", reconstruct)
    monkeypatch.setattr(reference, "pieces", lambda *_: iter(()))
    request = TrainRequest(producer_id="p", dataset_job_id="j")
    now = datetime.now(UTC)
    record = JobRecord(
        job_id="k",
        producer_id="p",
        model_name="m",
        backend="ace_step",
        state="preparing",
        created_at=now,
        updated_at=now,
        request=request,
    )
    report = Report(store, record, "base", "0")
    cache: Any = _Cache()
    split = split_dataset(made, model, cache, 3.0, lambda: None, try_measuring=report.try_measuring)
    assert len(made.clips) == len(split.train.examples) == 3
    assert (len(split.train.excerpts), len(split.train.through_codec)) == (3, 2)
    assert report.content["unmeasured"] == [
        "Not measured because of an error: an excerpt of clip 1: RuntimeError: out of memory"
    ]
