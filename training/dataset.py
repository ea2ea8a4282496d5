"""The dataset of a job: restored where one is stored, prepared from the request's files otherwise."""

from __future__ import annotations

import contextlib
from pathlib import Path

from core.errors import Refusal
from models.base import Model
from preprocessing.dataset import Dataset, prepare, restore
from preprocessing.record import read_record, stored
from preprocessing.stages import OnProgress, ignore
from storage import NotFound
from storage.retrying import RetryingStorage
from training import retry
from training.attempt import Attempt


def load_dataset(attempt: Attempt, model: Model, folder: Path, on_progress: OnProgress = ignore) -> Dataset:
    """The dataset that the request names, or that an earlier attempt prepared, or else a new one.

    Args:
        folder: where the clips' files are written; the caller removes it.
        on_progress: called as a new dataset is prepared.

    Raises:
        Refusal: the request's files cannot be used, or the stored dataset is incomplete.
    """
    record, request = attempt.record, attempt.record.request
    storage = RetryingStorage(attempt.storage, retry.MAX_SECONDS)
    if named := stored(request, storage):
        return restore(named, storage, folder, traits=model.traits)
    with contextlib.suppress(NotFound, Refusal):
        earlier = read_record(record.producer_id, record.job_id, storage)
        return restore(earlier, storage, folder / "restored", traits=model.traits)
    return prepare(
        request,
        record.job_id,
        storage,
        folder,
        attempt.settings,
        native_rate=model.sample_rate,
        native_channels=model.channels,
        traits=model.traits,
        report=lambda state: attempt.update(state=state),
        on_progress=on_progress,
    )
