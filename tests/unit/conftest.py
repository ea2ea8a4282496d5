"""The tiny ACE-Step, which most tests of adapters, models and runners use."""

from __future__ import annotations

import pytest
import torch

from models.ace_step import AceStep
from models.checkpoints import Checkpoint, resolve
from models.tiny import ace_step as tiny


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return resolve("starter", "ace_step_test", tiny.build)


@pytest.fixture(scope="module")
def model(checkpoint: Checkpoint) -> AceStep:
    return AceStep.load(checkpoint, torch.device("cpu"), torch.float32)
