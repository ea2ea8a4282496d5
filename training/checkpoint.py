"""The state of an unfinished training in storage, from which it goes on to the same adapter."""

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
    """What must be the same for training to go on: another base, recipe or music is another training."""
    return {
        "format": _FORMAT,
        "base_sha256": base.sha256,
        "recipe": recipe.plain(),
        "examples": list(examples),
    }


def save(storage: Storage, job_id: str, identity: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Replace the job's checkpoint, in one go."""
    file = io.BytesIO()
    torch.save({"identity": dict(identity), "state": dict(state)}, file)
    storage.put(keys.checkpoint(job_id), file.getvalue())


def load(storage: Storage, job_id: str, identity: Mapping[str, Any]) -> dict[str, Any] | None:
    """The state to go on from; None if there is none that fits, and training begins anew."""
    try:
        data = storage.get(keys.checkpoint(job_id))
    except NotFound:
        return None
    except Damaged as error:
        log.warning("job %s begins anew: %s", job_id, error)
        return None
    try:
        saved = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        if saved["identity"] == dict(identity):
            state: dict[str, Any] = saved["state"]
            return state
        reason = "the base model, the recipe or the music has changed"
    except Exception as error:  # noqa: BLE001 - whatever a damaged file makes of unpickling
        reason = f"it cannot be read ({type(error).__name__})"
    log.warning("job %s begins anew, its checkpoint is of no use: %s", job_id, reason)
    return None
