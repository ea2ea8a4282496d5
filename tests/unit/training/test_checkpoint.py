"""Checkpoints of a training, which are stored while it goes on."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import torch

from storage import Storage, Unavailable
from training import checkpoint
from training.checkpoint import CheckpointWriter

IDENTITY = {"format": 1, "examples": ["a"]}


class Slow:
    """A storage whose writes wait until they may go on, or fail.

    Attributes:
        may_go_on: set to let writes go on.
        error: raised by a write, if set.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self.may_go_on = threading.Event()
        self.error: Exception | None = None

    def put(self, *arguments: Any, **named: Any) -> Any:
        assert self.may_go_on.wait(60)
        if self.error:
            raise self.error
        return self._storage.put(*arguments, **named)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)


@pytest.fixture
def slow(store: Storage) -> Slow:
    return Slow(store)


def _writer(slow: Slow) -> CheckpointWriter:
    return CheckpointWriter(slow, "job", IDENTITY)  # type: ignore[arg-type]


def _loaded(store: Storage) -> Any:
    state = checkpoint.load(store, "job", IDENTITY)
    return state and state["weight"].tolist()


def test_training_goes_on_while_a_checkpoint_is_stored_as_it_was(store: Storage, slow: Slow) -> None:
    writer, weight = _writer(slow), torch.ones(3)
    writer.save({"weight": weight})
    weight.zero_()
    assert _loaded(store) is None
    slow.may_go_on.set()
    writer.wait()
    assert _loaded(store) == [1, 1, 1]
    writer.save({"weight": weight})
    writer.wait()
    assert _loaded(store) == [0, 0, 0]


def test_storage_that_is_away_costs_one_checkpoint_and_another_error_the_job(store: Storage, slow: Slow) -> None:
    writer = _writer(slow)
    slow.may_go_on.set()
    slow.error = Unavailable(503, "away")
    writer.save({"weight": torch.ones(1)})
    writer.wait()
    assert _loaded(store) is None
    slow.error = None
    writer.save({"weight": torch.full((1,), 2.0)})
    writer.wait()
    assert _loaded(store) == [2]
    slow.error = OSError(28, "full")
    writer.save({"weight": torch.ones(1)})
    with pytest.raises(OSError, match="full"):
        writer.wait()
    assert _loaded(store) == [2]
