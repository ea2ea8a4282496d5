"""Checkpoints of an unfinished training. Training that resumes from one ends with the same adapter."""

from __future__ import annotations

import io
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from models.checkpoints import Checkpoint
from storage import Damaged, NotFound, Storage, keys
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


def save(storage: Storage, job_id: str, identity: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Replace the job's checkpoint atomically."""
    file = io.BytesIO()
    torch.save({"identity": dict(identity), "state": dict(state)}, file)
    storage.put(keys.checkpoint(job_id), file.getvalue())


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
