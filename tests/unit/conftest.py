"""The tiny ACE-Step, which most tests of adapters, models and runners use, and storage for runners in this process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from core.settings import settings
from models.ace_step import AceStep
from models.checkpoints import Checkpoint, resolve
from models.tiny import ace_step as tiny
from storage import Storage, open_storage


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return resolve("starter", "ace_step_test", tiny.build)


@pytest.fixture(scope="module")
def model(checkpoint: Checkpoint) -> AceStep:
    return AceStep.load(checkpoint, torch.device("cpu"), torch.float32)


@pytest.fixture(scope="module")
def module_storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storage]:
    """A storage that the settings name. A runner removes adapters that are not in it from the model store."""
    url = tmp_path_factory.mktemp("storage").as_uri()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STORAGE_URL", url)
        settings.cache_clear()
        yield open_storage(url)
    settings.cache_clear()
