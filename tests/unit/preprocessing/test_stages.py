"""The stages of making a dataset: counts of finished items, and the seconds that are left."""

from __future__ import annotations

import time
from collections import UserList
from pathlib import Path
from typing import Any

import pytest

from contract import Progress, TrainRequest
from core.settings import Settings
from preprocessing.dataset import prepare
from preprocessing.stages import StageMeter
from storage import Storage, keys
from tests.api import beat
from training.progress import ProgressWriter

Told = list[tuple[str, int, int, float | None]]


def test_seconds_left_are_by_the_cost_of_the_items(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, told = [100.0], []
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    meter = StageMeter("analysing", "songs", [10.0, 30.0], lambda *now: told.append(now))
    for _ in meter.over("ab"):
        clock[0] += 2
    assert [(progress.done, progress.total, left) for progress, left in told] == [
        (0, 2, None),
        (1, 2, 6.0),
        (2, 2, 0.0),
    ]
    assert told[0][0] == Progress(stage="analysing", done=0, total=2, unit="songs")


def test_each_cost_is_read_once() -> None:
    reads = 0

    class Costs(UserList[float]):
        def __getitem__(self, index: Any) -> Any:
            nonlocal reads
            found = self.data[index]
            reads += len(found) if isinstance(index, slice) else 1
            return found

    for _ in StageMeter("cutting", "songs", Costs([1.0] * 100), lambda *_: None).over(range(100)):
        pass
    assert reads <= 101  # the last read finds the end


@pytest.mark.slow
def test_a_dataset_tells_each_stage_from_its_beginning_to_its_end(store: Storage, tmp_path: Path) -> None:
    paths = []
    for number in range(2):
        key = keys.upload("ada", "songs", f"{number}.wav")
        store.put(key, beat(3, number=number))
        paths.append(keys.to_path(key))
    request = TrainRequest(producer_id="ada", upload_paths=paths)
    told: Told = []

    def on_progress(progress: Progress, left: float | None) -> None:
        told.append((progress.stage, progress.done, progress.total, left))

    prepare(
        request, "j", store, tmp_path / "w", Settings(), native_rate=48_000, native_channels=2, on_progress=on_progress
    )
    counted = [(stage, done, total) for stage, done, total, _ in told]
    assert counted == [(stage, n, 2) for stage in ("fetching", "analysing", "cutting", "listening") for n in range(3)]
    assert all((left is None) == (done == 0) for _, done, _, left in told)


def test_the_record_gets_the_edges_of_a_stage_and_not_every_item() -> None:
    written: list[dict[str, Any]] = []
    writer = ProgressWriter(lambda **changes: written.append(changes))
    for _ in StageMeter("cutting", "songs", [1.0] * 1000, writer).over(range(1000)):
        pass
    assert [each["progress"].done for each in (written[0], written[-1])] == [0, 1000] and len(written) < 10
    assert written[-1]["seconds_left"] == 0.0
