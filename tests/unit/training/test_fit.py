"""How the optimiser steps of an attempt end: nothing that was measured or saved is lost."""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from models.checkpoints import Checkpoint
from storage import Storage
from tests.unit.training.test_checkpoint import Slow
from training import checkpoint
from training.base import Recipe
from training.evaluation.report import Report
from training.examples import Examples
from training.fit import Fit
from training.jobs.cancellation import Stop
from training.jobs.transitions import JobEnded
from training.loop import TrainingFailed

BASE = Checkpoint("starter", Path(), "0")
RECIPE = Recipe(steps=3, batch=1, rank=1, alpha=1, targets=(), learning_rate=1e-3, warmup=0)
SUBSET = SimpleNamespace(examples=Examples([]), texts=[])


class FailingSession:
    """A session whose second step fails."""

    step = 0

    def share(self) -> None:
        pass

    def state(self) -> dict[str, Any]:
        return {"weight": torch.full((1,), float(self.step))}

    def advance(self, examples: object) -> float:
        if self.step:
            raise TrainingFailed("the loss was nan")
        self.step += 1
        return 0.5


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def _fit(storage: Any, store: Storage, update: Any) -> Fit:
    request = SimpleNamespace(keep="best")
    record = SimpleNamespace(job_id="job", producer_id="ada", model_name="night", backend="ace_step", request=request)
    attempt = SimpleNamespace(
        record=record,
        storage=storage,
        settings=SimpleNamespace(train_checkpoint_seconds=0.0),
        stop=Stop(),
        update=update,
        try_update=update,
    )
    split: Any = SimpleNamespace(train=SUBSET, held_out=SUBSET)
    report = Report(store, record, "starter", "0")  # type: ignore[arg-type]
    return Fit(attempt, FailingSession(), None, BASE, RECIPE, split, report, 1.0)  # type: ignore[arg-type]


def test_a_checkpoint_that_is_being_stored_is_not_lost_when_training_fails(
    store: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(board: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("training.fit.TensorBoard.close", fail)
    slow = Slow(store)
    threading.Timer(0.3, slow.may_go_on.set).start()
    with pytest.raises(OSError, match="No space"):
        _fit(slow, store, lambda **changes: None).run()
    saved = checkpoint.load(store, "job", checkpoint.identity(BASE, RECIPE, []))
    assert saved and saved["session"]["weight"] == 1


def test_nothing_is_left_of_an_attempt_that_ends_before_its_first_step(store: Storage, temporary: Path) -> None:
    def end(**changes: object) -> None:
        raise JobEnded("it belongs to another attempt")

    fit = _fit(store, store, end)
    assert list(temporary.glob("producer-twin-events-*"))
    with pytest.raises(JobEnded):
        fit.run()
    assert not list(temporary.glob("producer-twin-events-*"))
