"""The split of a job's music, and what is measured of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from contract import TrainRequest
from models.ace_step import AceStep
from models.base import Text
from preprocessing.captions import Caption
from preprocessing.dataset import Clip, Dataset
from storage import Storage
from tests.sounds import written
from tests.unit.preprocessing.helpers import tone
from training.evaluation.report import Report
from training.jobs.store import Jobs
from training.train_eval_split import split_dataset


class _Cache:
    """Keeps no examples."""

    def add(self, audio: NDArray[np.float32], text: Text) -> Path:
        return Path("none")


def test_a_measurement_that_fails_is_reported_and_the_music_is_trained_on(
    store: Storage, tmp_path: Path, model: AceStep, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> Any:
        raise RuntimeError("out of memory")

    (tmp_path / "a.wav").write_bytes(written(tone(4)))
    files = [{"source": "/data/uploads/ada/x/a.wav", "sha256": "0", "seconds": 4.0, "sample_rate": 48_000}]
    dataset = Dataset([Clip(tmp_path / "a.wav", Caption("music"), 4.0, 0)], {"files": files})
    record = Jobs(store).create(TrainRequest(producer_id="ada", upload_paths=["/data/x"]), "ace_step")
    report, cache = Report(store, record, "tiny", "0" * 64), _Cache()
    arguments: Any = (dataset, model, cache, 1.0, lambda: None)
    monkeypatch.setattr(model, "reconstruct", fail)
    split = split_dataset(*arguments, try_measuring=report.try_measuring)
    assert len(split.train.examples) == len(split.train.excerpts) == 1 and not split.train.through_codec
    monkeypatch.setattr("training.train_eval_split.is_noise", fail)
    monkeypatch.setattr("training.train_eval_split.listen", fail)
    split = split_dataset(*arguments, try_measuring=report.try_measuring)
    assert len(split.train.examples) == 1 and not split.train.excerpts and not split.noise
    reasons = report.content["unmeasured"]
    assert reasons[0] == "Not measured because of an error: an excerpt of clip 0: RuntimeError: out of memory"
    assert any("whether clip 0 is noise" in reason for reason in reasons)
