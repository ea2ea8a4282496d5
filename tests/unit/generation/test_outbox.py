"""The outbox and `RetryingStorage` while storage is unavailable."""

from __future__ import annotations

from pathlib import Path

import pytest

import generation.outbox
import storage.retrying
from generation.outbox import Outbox
from storage import Storage, Unavailable, open_storage
from storage.retrying import RetryingStorage
from tests.api import wait_until


class Flaky:
    """A storage that is unavailable (503) or full (507) while `trouble` is set."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.trouble: int | None = None
        self.refused = 0

    def put(self, key: str, data: bytes, **conditions: object) -> str:
        if self.trouble:
            self.refused += 1
            raise Unavailable(self.trouble, "there is trouble")
        return self.storage.put(key, data, **conditions)  # type: ignore[arg-type]


@pytest.fixture
def flaky(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Flaky:
    monkeypatch.setattr(generation.outbox, "RETRY_SECONDS", 0.02)
    return Flaky(open_storage((tmp_path / "data").as_uri()))


def outbox(flaky: Flaky, tmp_path: Path, url: str = "s3://bucket") -> Outbox:
    return Outbox(flaky, url, tmp_path / "outbox")  # type: ignore[arg-type]


def assert_comes(flaky: Flaky, key: str, data: bytes) -> None:
    wait_until(lambda: flaky.storage.stat(key) is not None, pause=0.01)
    assert flaky.storage.get(key) == data


def test_waiting_tracks_are_stored_when_storage_is_back(flaky: Flaky, tmp_path: Path) -> None:
    box = outbox(flaky, tmp_path)
    box.put("outputs/base/a.wav", b"a")
    assert flaky.storage.get("outputs/base/a.wav") == b"a"
    flaky.trouble = 503
    box.put("outputs/base/b.wav", b"b")
    box.put("outputs/twins/ädä/c.wav", b"c")
    waiting = box.waiting("outputs/base/b.wav")
    assert waiting is not None and waiting.read_bytes() == b"b"
    flaky.trouble = None
    for key, data in (("outputs/base/b.wav", b"b"), ("outputs/twins/ädä/c.wav", b"c")):
        assert_comes(flaky, key, data)


def test_the_next_process_with_the_same_storage_sends_waiting_tracks(flaky: Flaky, tmp_path: Path) -> None:
    flaky.trouble = 503
    outbox(flaky, tmp_path).put("outputs/base/a.wav", b"a")
    other = Flaky(open_storage((tmp_path / "other").as_uri()))
    outbox(other, tmp_path, "s3://another")
    after = Flaky(flaky.storage)
    outbox(after, tmp_path)
    assert_comes(after, "outputs/base/a.wav", b"a")
    assert not list(other.storage.list(""))


def test_a_full_storage_or_outbox_refuses(flaky: Flaky, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    box = outbox(flaky, tmp_path)
    flaky.trouble = 507
    with pytest.raises(Unavailable) as refusal:
        box.put("outputs/base/a.wav", b"a")
    assert refusal.value.status == 507
    flaky.trouble = 503
    monkeypatch.setattr(generation.outbox, "MAX_BYTES", 3)
    box.put("outputs/base/b.wav", b"bb")
    with pytest.raises(Unavailable, match="too many"):
        box.put("outputs/base/c.wav", b"cc")


class Clock:
    """Stands in for the time module: `sleep` only advances the clock."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_retries_end_and_are_for_temporary_errors(flaky: Flaky, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage.retrying, "RETRY_SECONDS", 2.0)
    monkeypatch.setattr(storage.retrying, "time", Clock())
    flaky.trouble = 503
    with pytest.raises(Unavailable):
        RetryingStorage(flaky, 7).put("a", b"x")  # type: ignore[arg-type]
    assert flaky.refused == 5  # at 0, 2, 4 and 6 s, and once more when the time is up
    flaky.trouble, flaky.refused = 507, 0
    with pytest.raises(Unavailable):
        RetryingStorage(flaky, 60).put("a", b"x")  # type: ignore[arg-type]
    assert flaky.refused == 1
