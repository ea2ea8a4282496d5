"""The storage interface, on a folder and on a bucket of a real S3 server."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import httpx
import pytest

import storage.s3
from storage import AlreadyExists, Changed, Damaged, NotFound, Storage, open_storage
from tests.api import PATIENCE
from tests.s3_server import BUCKET
from tests.unit.storage.conftest import Place, bucket_of


def test_an_object_comes_back(store: Storage) -> None:
    before = datetime.now(UTC).timestamp() - 2
    etag = store.put("uploads/p/j/my beat é.wav", b"abcdef")
    assert store.get("uploads/p/j/my beat é.wav") == b"abcdef"
    assert store.get_with_etag("uploads/p/j/my beat é.wav") == (b"abcdef", etag)
    entry = store.stat("uploads/p/j/my beat é.wav")
    assert entry is not None
    assert (entry.key, entry.size, entry.etag) == ("uploads/p/j/my beat é.wav", 6, etag)
    assert entry.modified.tzinfo is not None
    assert before <= entry.modified.timestamp() <= time.time() + 2
    assert store.put("uploads/p/j/my beat é.wav", b"") != etag
    assert store.get("uploads/p/j/my beat é.wav") == b""


def test_what_is_not_there(store: Storage, tmp_path: Path) -> None:
    store.put("a/b", b"x")
    for key in ("nothing", "a", "a/b/c", "a/nothing"):
        assert store.stat(key) is None
        assert store.delete(key) is False
        for read in (store.get, store.get_with_etag, lambda key: store.get_range(key, 0, 1)):
            with pytest.raises(NotFound):
                read(key)
        with pytest.raises(NotFound):
            store.get_file(key, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_ranges(store: Storage) -> None:
    store.put("a", b"0123456789")
    wanted = {(0, 4): b"0123", (8, 4): b"89", (10, 4): b"", (50, 1): b"", (3, 0): b"", (0, 10): b"0123456789"}
    assert {each: store.get_range("a", *each) for each in wanted} == wanted


def test_files_go_and_come_whole(store: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, copy = tmp_path / "source", tmp_path / "below" / "copy"
    source.write_bytes(os.urandom(3_000_000))
    etag = store.put_file("big", source)
    store.get_file("big", copy)
    assert copy.read_bytes() == source.read_bytes()
    assert store.get_with_etag("big")[1] == etag
    with pytest.raises(AlreadyExists):
        store.put_file("big", source, if_absent=True)
    monkeypatch.setattr(storage.s3, "MULTIPART_BYTES", 1_000_000)
    source.write_bytes(os.urandom(10_000_000))
    store.put_file("big", source)
    store.get_file("big", copy)
    assert copy.read_bytes() == source.read_bytes()
    assert [path.name for path in copy.parent.iterdir()] == ["copy"]
    with pytest.raises(FileNotFoundError):
        store.put_file("big", tmp_path / "nothing")


def test_a_large_file_that_is_in_the_way_stays(store: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage.s3, "MULTIPART_BYTES", 1_000_000)
    monkeypatch.setattr(storage.s3, "PART_BYTES", 5 * 2**20)
    source = tmp_path / "source"
    source.write_bytes(os.urandom(12_000_000))
    with source.open("rb", buffering=0) as file:
        store.put_file("big", file, if_absent=True)
    entry = store.stat("big")
    assert entry is not None and entry.size == 12_000_000
    assert entry.sha256 == sha256(source.read_bytes()).hexdigest()
    with pytest.raises(AlreadyExists):
        store.put_file("big", source, if_absent=True)
    if store.local("big") is None:
        # An object that appears during the upload wins, and the uploaded parts are removed.
        bucket = bucket_of(store)
        monkeypatch.setattr(bucket, "stat", lambda key: None)
        with pytest.raises(AlreadyExists):
            store.put_file("big", source, if_absent=True)
        assert not bucket._client.list_multipart_uploads(Bucket=BUCKET).get("Uploads")


def test_a_flipped_byte_is_found(place: Place, store: Storage, tmp_path: Path) -> None:
    """In the folder as a disk would do it, unseen by the file system; in the bucket as other bytes with our digest."""
    store.put("a", b"0123456789")
    path = store.local("a")
    if path is not None:
        times = path.stat()
        with path.open("r+b") as file:
            file.write(b"1")
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    else:
        bucket, metadata = bucket_of(store), {"sha256": sha256(b"0123456789").hexdigest()}
        bucket._client.put_object(Bucket=BUCKET, Key=bucket._name("a"), Body=b"1123456789", Metadata=metadata)
    for read in (store.get, store.get_with_etag, lambda key: store.get_file(key, tmp_path / "copy")):
        with pytest.raises(Damaged, match="/data/a"):
            read("a")
    assert not (tmp_path / "copy").exists()
    store.put("a", b"new")
    assert store.get("a") == b"new"


def test_a_link_is_good_for_who_has_it(store: Storage) -> None:
    store.put("outputs/base/n.wav", b"0123456789")
    link = store.link("outputs/base/n.wav", 60, "audio/wav")
    if link is None:
        path = store.local("outputs/base/n.wav")
        assert path is not None and path.read_bytes() == b"0123456789"
        return
    part = httpx.get(link, headers={"range": "bytes=2-4"})
    assert (part.status_code, part.content, part.headers["content-type"]) == (206, b"234", "audio/wav")
    assert httpx.get(link.replace("n.wav", "m.wav")).status_code == 403


def test_an_upload_link_takes_one_object_of_its_size(store: Storage) -> None:
    given = store.upload_link("uploads/p/j/a.wav", 60, 10)
    if given is None:
        assert store.local("uploads/p/j/a.wav") is None
        return
    url, headers = given
    assert httpx.put(url, content=b"0" * 11, headers=headers).status_code == 403
    assert httpx.put(url, content=b"0" * 10).status_code == 403  # without its condition
    assert httpx.put(url, content=b"0" * 10, headers=headers).status_code == 200
    assert httpx.put(url, content=b"1" * 10, headers=headers).status_code == 412
    assert store.get("uploads/p/j/a.wav") == b"0" * 10


def test_delete(store: Storage) -> None:
    store.put("a/b", b"x")
    assert store.delete("a/b") is True
    assert store.delete("a/b") is False
    assert store.stat("a/b") is None


def test_list_is_recursive_sorted_and_by_prefix(store: Storage) -> None:
    names = ["a/b/c", "a/b-c", "a.b", "b/é", "b/z", "loras/p_m", "loras/pm", "A/b"]
    for name in names:
        store.put(name, name.encode())
    assert [entry.key for entry in store.list("")] == sorted(names, key=str.encode)
    assert [entry.key for entry in store.list("a/")] == sorted(n for n in names if n.startswith("a/"))
    assert [entry.key for entry in store.list("loras/p_")] == ["loras/p_m"]
    assert list(store.list("nothing/")) == []
    entry = next(iter(store.list("b/é")))
    assert entry == store.stat("b/é") or entry.etag == store.get_with_etag("b/é")[1]


def test_conditions(store: Storage) -> None:
    first = store.put("a", b"1", if_absent=True)
    with pytest.raises(AlreadyExists):
        store.put("a", b"2", if_absent=True)
    second = store.put("a", b"2", if_match=first)
    with pytest.raises(Changed):
        store.put("a", b"3", if_match=first)
    assert store.get("a") == b"2"
    store.delete("a")
    with pytest.raises(Changed):
        store.put("a", b"3", if_match=second)
    assert store.stat("a") is None


def _race(place: Place, number: int, start: object, results: object) -> None:
    store = open_storage(*place)
    start.wait()  # type: ignore[attr-defined]
    try:
        store.put("race", str(number).encode() * 1000, if_absent=True)
    except AlreadyExists:
        results.put(None)  # type: ignore[attr-defined]
    else:
        results.put(number)  # type: ignore[attr-defined]


@pytest.mark.slow
def test_one_of_eight_processes_wins(place: Place) -> None:
    context = multiprocessing.get_context("fork")
    start, results = context.Barrier(8), context.Queue()
    racers = [context.Process(target=_race, args=(place, number, start, results)) for number in range(8)]
    for racer in racers:
        racer.start()
    try:
        winners = [winner for _ in racers if (winner := results.get(timeout=PATIENCE)) is not None]
    finally:
        for racer in racers:
            racer.kill()
            racer.join()
    assert len(winners) == 1
    assert open_storage(*place).get("race") == str(winners[0]).encode() * 1000


@pytest.mark.slow
def test_no_increment_is_lost(store: Storage) -> None:
    """Eight threads count by compare and swap."""
    store.put("count", b"0")

    def count() -> None:
        for _ in range(5):
            while True:
                data, etag = store.get_with_etag("count")
                try:
                    store.put("count", str(int(data) + 1).encode(), if_match=etag)
                    break
                except Changed:
                    time.sleep(0.002)

    with ThreadPoolExecutor(8) as pool:
        for each in [pool.submit(count) for _ in range(8)]:
            each.result()
    assert store.get("count") == b"40"


@pytest.mark.slow
def test_readers_never_see_a_torn_object(store: Storage) -> None:
    store.put("a", b"0" * 300_000)
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            store.put("a", str(number % 10).encode() * 300_000)

    with ThreadPoolExecutor(1) as pool:
        writer = pool.submit(write)
        try:
            for _ in range(60):
                data = store.get("a")
                assert len(data) == 300_000
                assert len(set(data)) == 1
        finally:
            stop.set()
        writer.result()


def test_what_a_folder_holds(store: Storage) -> None:
    assert not store.holds("access/")
    store.put("access/mark", b"")
    assert store.holds("access/") and not store.holds("acc/")
    store.delete("access/mark")
    assert not store.holds("access/")
