"""The losses of the base model, which later jobs on the same music find."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from training.evaluation.base_losses import measure_base
from training.examples import Examples


class CountingSession:
    """A session that counts how often the base model is measured."""

    measured = 0

    @contextmanager
    def disable_adapter(self) -> Iterator[None]:
        self.measured += 1
        yield

    def losses(self, examples: Sequence[object], seeds: Sequence[object]) -> torch.Tensor:
        return torch.full((len(examples),), 0.5)


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY", b"not an array", b"\x93NUMPY\x01\x00v\x00{"])
def test_a_damaged_file_is_measured_again(tmp_path: Path, damage: bytes) -> None:
    save_file({"mean": torch.ones(1)}, tmp_path / "a.safetensors")
    examples, session = Examples([tmp_path / "a.safetensors"]), CountingSession()

    def measure(draws: int = 4) -> list[float]:
        measured: list[float] = measure_base(session, examples, "held_out", draws, lambda: None).tolist()  # type: ignore[arg-type]
        return measured

    assert measure() == measure() == [0.5] and session.measured == 1
    (file,) = tmp_path.glob("*.npy")
    file.write_bytes(damage)
    assert measure() == measure() == [0.5] and session.measured == 2
    assert measure(draws=2) == [0.5] and session.measured == 3
