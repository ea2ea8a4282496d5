"""What the codec encodes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from models.ace_step import AceStep
from models.ace_step.recordings import RecordingEncoder


@pytest.fixture
def encoded(model: AceStep, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The number of samples of each piece that the codec has encoded."""
    lengths: list[int] = []
    encode = type(model.pipeline.vae).encode

    def counted(self: object, x: torch.Tensor, **options: object) -> object:
        lengths.append(x.shape[-1])
        return encode(self, x, **options)

    monkeypatch.setattr(type(model.pipeline.vae), "encode", counted)
    model._recordings = RecordingEncoder(model.pipeline)
    yield lengths
    model._recordings = RecordingEncoder(model.pipeline)
