"""The outbox and `RetryingStorage` while storage is unavailable."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

import generation.outbox
import storage.retrying
from adapters.library import Library
from api.routes.application import application
from contract import TrackChanges
from core.settings import Settings
from generation.outbox import Outbox
from generation.track_library import TrackLibrary
from storage import Storage, Unavailable, keys, open_storage, usage
from storage.retrying import RetryingStorage
from tests.api import checked, error_of, wait_until
from tests.tracks import a_record
from training.jobs.retention import clean
from training.jobs.store import Jobs


class Flaky:
    """A storage that is unavailable (503) or full (507) while `trouble` is set."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.trouble: int | None = None
        self.refused = 0
        self.sending = threading.Event()
        self.may_send = threading.Event()
        self.may_send.set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.storage, name)

    def put(self, key: str, data: bytes, **conditions: object) -> str:
        if self.trouble:
            self.refused += 1
            raise Unavailable(self.trouble, "there is trouble")
        self.sending.set()
        self.may_send.wait()
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


def add_waiting(flaky: Flaky, library: TrackLibrary, producer: str | None = None) -> str:
    """Add a track whose audio and latents are stored; its record waits."""
    record = a_record(0, producer)
    audio = keys.from_path(record.output_path)
    for key in (audio, keys.latents(audio)):
        library.outbox.put(key, b"x")
    flaky.trouble = 503
    library.add(record)
    return record.track_id


def assert_nothing_comes(flaky: Flaky, box: Outbox) -> None:
    flaky.trouble = None
    wait_until(lambda: not box.waiting_keys(), pause=0.01)
    box.put("last", b"x")
    wait_until(lambda: not box.waiting_keys(), pause=0.01)
    assert [entry.key for entry in flaky.storage.list("")] == ["last"]


def test_a_track_that_waits_is_deleted_for_good(flaky: Flaky, tmp_path: Path) -> None:
    library = TrackLibrary(outbox(flaky, tmp_path))
    track_id = add_waiting(flaky, library)
    assert library.find(track_id).track_id == track_id
    with pytest.raises(Unavailable, match="not in storage yet"):
        library.change(track_id, TrackChanges(liked=True))
    assert library.delete(track_id)
    assert_nothing_comes(flaky, library.outbox)


def test_a_track_that_is_sent_while_it_is_deleted_stays_deleted(flaky: Flaky, tmp_path: Path) -> None:
    box, key = outbox(flaky, tmp_path), "outputs/base/a.wav"
    flaky.trouble = 503
    box.put(key, b"a")
    flaky.may_send.clear()
    flaky.sending.clear()
    flaky.trouble = None
    assert flaky.sending.wait(5)
    deleted: list[bool] = []
    deletion = threading.Thread(target=lambda: deleted.append(box.delete(key)))
    deletion.start()
    deletion.join(0.2)
    flaky.may_send.set()
    deletion.join()
    assert deleted == [True]
    assert_nothing_comes(flaky, box)


def test_what_goes_with_a_track_that_another_replica_deleted_is_not_sent(flaky: Flaky, tmp_path: Path) -> None:
    library = TrackLibrary(outbox(flaky, tmp_path))
    for producer in (None, "ada"):
        track_id = add_waiting(flaky, library, producer)
        TrackLibrary(Outbox(flaky.storage, "other", tmp_path / "other")).delete(track_id)
        assert_nothing_comes(flaky, library.outbox)
        library.outbox.delete("last")


def test_latents_are_sent_before_their_track(flaky: Flaky, tmp_path: Path) -> None:
    box, key = outbox(flaky, tmp_path), "outputs/base/a.wav"
    flaky.trouble = 503
    box.put(key, b"a")
    box.put(keys.latents(key), b"l")
    flaky.trouble = None
    assert_comes(flaky, key, b"a")
    assert_comes(flaky, keys.latents(key), b"l")


def test_retention_deletes_what_waits(flaky: Flaky, tmp_path: Path) -> None:
    library = TrackLibrary(outbox(flaky, tmp_path))
    add_waiting(flaky, library)
    settings = Settings(keep_outputs_days=1e-9)
    assert clean(flaky.storage, Jobs(flaky.storage), settings, library.outbox.delete) == {"outputs": 2}
    assert_nothing_comes(flaky, library.outbox)


def test_a_producer_is_deleted_with_what_waits(flaky: Flaky, tmp_path: Path) -> None:
    box, stored = outbox(flaky, tmp_path), flaky.storage
    front: Any = SimpleNamespace(storage=stored, outbox=box, jobs=Jobs(stored), library=Library(stored), sign_in=None)
    add_waiting(flaky, TrackLibrary(box), "ada")
    box.put("outputs/twins/ada/b.wav", b"b")
    box.put(*usage.new_event("ada:night", 10))

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(application(lambda: front))
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            return await client.delete("/producers/ada")

    assert keys.to_path("outputs/twins/ada/b.wav") in checked(asyncio.run(ask()))["deleted"]
    error_of(asyncio.run(ask()), 404)
    assert_nothing_comes(flaky, box)


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
