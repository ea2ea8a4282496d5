"""Checkpoints of an unfinished training. Training that resumes from one ends with the same adapter."""

from __future__ import annotations

import io
import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch

from models.checkpoints import Checkpoint
from storage import Damaged, NotFound, Storage, Unavailable, keys
from training.base import Recipe

log = logging.getLogger("producer_twin.training")

_FORMAT = 1


def identity(base: Checkpoint, recipe: Recipe, examples: Sequence[str]) -> dict[str, Any]:
    """The inputs of the training. A checkpoint is only used if its identity is the same."""
    return {
        "format": _FORMAT,
        "base_sha256": base.sha256,
        "recipe": recipe.plain(),
        "examples": list(examples),
    }


class CheckpointWriter:
    """Stores the checkpoints of a job in a thread, one after the other, while training goes on.

    Each replaces the one before atomically. If the process is killed meanwhile, the one before is still whole.
    """

    def __init__(self, storage: Storage, job_id: str, identity: Mapping[str, Any]) -> None:
        self._storage, self._job_id, self._identity = storage, job_id, dict(identity)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._writing: Future[None] | None = None

    def save(self, state: Mapping[str, Any]) -> None:
        """Begin to store a checkpoint of the state as it is now, once the one before is stored.

        Raises:
            Exception: the one before could not be stored, for another reason than that storage is unavailable.
        """
        self.wait()
        file = io.BytesIO()
        torch.save({"identity": self._identity, "state": dict(state)}, file)
        self._writing = self._thread.submit(self._write, file.getvalue())

    def wait(self) -> None:
        """Wait until the latest checkpoint is stored. Raises as `save` does."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def _write(self, data: bytes) -> None:
        try:
            self._storage.put(keys.checkpoint(self._job_id), data)
        except Unavailable as error:
            log.warning("a checkpoint was not stored: %s", error)


def load(storage: Storage, job_id: str, identity: Mapping[str, Any]) -> dict[str, Any] | None:
    """The state to resume from, None if there is no checkpoint of this identity and training starts from step 0."""
    try:
        data = storage.get(keys.checkpoint(job_id))
    except NotFound:
        return None
    except Damaged as error:
        log.warning("job %s starts from step 0: %s", job_id, error)
        return None
    try:
        saved = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        if saved["identity"] == dict(identity):
            state: dict[str, Any] = saved["state"]
            return state
        reason = "the base model, the recipe or the music has changed"
    except Exception as error:  # noqa: BLE001 - unpickling a damaged file can raise anything
        reason = f"it cannot be read ({type(error).__name__})"
    log.warning("job %s starts from step 0, its checkpoint cannot be used: %s", job_id, reason)
    return None
