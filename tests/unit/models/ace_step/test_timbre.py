"""The timbre of silence, which processes on a CPU find in the cache."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from models.ace_step import AceStep, timbre


def _again(model: AceStep) -> torch.Tensor:
    timbre.keep_silent_timbre(model.pipeline)
    kept: torch.Tensor = model.pipeline.condition_encoder.silent_timbre
    return kept


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "producer-twin" / "timbres"


def test_it_is_computed_once_for_the_same_weights(model: AceStep, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = model.pipeline.condition_encoder
    first = _again(model)
    [file] = cache.iterdir()
    with monkeypatch.context() as patched:
        patched.setattr(timbre, "timbre_of", lambda *_: pytest.fail("it is in the cache"))
        assert torch.equal(_again(model), first) and encoder.silent_timbre.dtype is first.dtype
    file.write_bytes(b"damaged")
    assert torch.equal(_again(model), first)
    weight = encoder.timbre_encoder.norm.weight
    weight.data *= 2
    try:
        other = _again(model)
    finally:
        weight.data /= 2
    assert not torch.equal(other, first) and len(list(cache.iterdir())) == 2
    assert torch.equal(_again(model), first)


def test_a_cache_that_cannot_be_written_is_no_error(model: AceStep, cache: Path) -> None:
    expected = model.pipeline.condition_encoder.silent_timbre
    cache.parent.mkdir(parents=True)
    cache.write_text("no folder")
    assert torch.equal(_again(model), expected)
