"""Both places, the same suite: a folder, and a real S3 server."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

import storage.s3
from core.errors import Refusal
from storage import AlreadyExists, BadKey, Changed, Damaged, NotFound, Storage, Unavailable, keys, open_storage
from tests.api import PATIENCE
from tests.disks import small_disk
from tests.s3_server import BUCKET, CREDENTIALS, S3Server, s3_server, serve_s3

__all__ = ["s3_server"]

Place = tuple[str, str | None]


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """What open_storage is called with; a fresh, empty place for every test."""
    if request.param == "folder":
        return (tmp_path / "a folder").as_uri(), None
    server: S3Server = request.getfixturevalue("s3_server")
    return server.url(f"tests/{uuid.uuid4().hex}"), server.endpoint


@pytest.fixture
def store(place: Place) -> Storage:
    return open_storage(*place)


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
    if isinstance(store, storage.s3.S3):
        # One that comes while the parts are under way wins; what was sent is not left behind.
        monkeypatch.setattr(store, "stat", lambda key: None)
        with pytest.raises(AlreadyExists):
            store.put_file("big", source, if_absent=True)
        assert not store._client.list_multipart_uploads(Bucket=BUCKET).get("Uploads")


def test_a_flipped_byte_is_found(place: Place, store: Storage, tmp_path: Path) -> None:
    """As a disk flips it: without a word to the file system. In the bucket, another's bytes under our digest."""
    store.put("a", b"0123456789")
    path = store.local("a")
    if path is not None:
        times = path.stat()
        with path.open("r+b") as file:
            file.write(b"1")
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    else:
        assert isinstance(store, storage.s3.S3)
        metadata = {"sha256": sha256(b"0123456789").hexdigest()}
        store._client.put_object(Bucket=BUCKET, Key=store._name("a"), Body=b"1123456789", Metadata=metadata)
    for read in (store.get, store.get_with_etag, lambda key: store.get_file(key, tmp_path / "copy")):
        with pytest.raises(Damaged, match="/data/a"):
            read("a")
    assert not (tmp_path / "copy").exists()
    store.put("a", b"new")
    assert store.get("a") == b"new"


def test_a_file_that_was_edited_by_hand_is_read(tmp_path: Path) -> None:
    store = open_storage(tmp_path.as_uri())
    store.put("a", b"ours")
    (tmp_path / "a").write_bytes(b"theirs")
    entry = store.stat("a")
    assert store.get("a") == b"theirs" and entry is not None and entry.sha256 is None


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


BAD_KEYS = [
    *("", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/.b", ".a", "a\\b", "a\0b", "a\nb"),
    *("a" * 256, "é" * 128, "/".join(["a" * 200] * 6), "\ud800", "a\x7f"),
]


@pytest.mark.parametrize("key", BAD_KEYS)
def test_bad_keys_are_refused_everywhere(key: str, tmp_path: Path) -> None:
    store = open_storage((tmp_path / "root").as_uri())
    calls: list[Callable[[], object]] = [
        lambda: store.put(key, b"x"),
        lambda: store.get(key),
        lambda: store.stat(key),
        lambda: store.delete(key),
        lambda: store.get_range(key, 0, 1),
        lambda: keys.to_path(key),
    ]
    for call in calls:
        with pytest.raises(BadKey):
            call()
    with pytest.raises(Refusal, match="the_field") as refusal:
        keys.from_path("/data/" + key, "the_field")
    assert refusal.value.status == 400
    refusal.value.message.encode()  # can be sent
    assert list(tmp_path.iterdir()) == []


@given(st.lists(st.sampled_from(["..", ".", "a", "é", "/", "//", "\\", "\0", "~", "%2e", " ", "\n"])).map("".join))
def test_no_key_leaves_the_root(key: str) -> None:
    if keys.is_key(key):
        root = Path("/root/of/all")
        assert Path(os.path.normpath(root / key)).is_relative_to(root)
        assert os.path.normpath(root / key) == str(root / key)
        assert keys.from_path(keys.to_path(key)) == key


@given(st.text())
def test_any_text_as_file_name(name: str) -> None:
    try:
        safe = keys.safe_filename(name)
    except Refusal as refusal:
        assert refusal.status == 400
    else:
        assert keys.is_key(keys.upload("p", "j", safe))
        assert "/" not in safe
        assert keys.safe_filename(safe) == safe


def test_file_names() -> None:
    expected = {
        "beat.wav": "beat.wav",
        "My Beat (final) é.WAV": "My Beat (final) é.WAV",
        "../../etc/passwd": "passwd",
        "C:\\music\\a.mp3": "a.mp3",
        ".hidden.wav": "hidden.wav",
        "a\x00b\n.wav": "ab.wav",
        "..wav": "wav",
        "x" * 400 + ".flac": "x" * 195 + ".flac",
    }
    assert {name: keys.safe_filename(name) for name in expected} == expected
    for name in ("", "..", "/", "a/", "\n", "...", " "):
        with pytest.raises(Refusal, match="filename"):
            keys.safe_filename(name)


@pytest.mark.parametrize("path", ["uploads/a", "/etc/passwd", "/data", "/data/", "/database/x", "/data/../x"])
def test_paths_outside_data_are_refused(path: str) -> None:
    with pytest.raises(Refusal, match=r"upload_paths\[0\]"):
        keys.from_path(path, "upload_paths[0]")


def test_no_two_functions_of_the_tree_share_a_key() -> None:
    made = [
        keys.upload("p", "j", "f"),
        keys.dataset_clip("p", "j", 0, "wav"),
        keys.dataset_record("p", "j"),
        keys.training_audio("p", 0),
        keys.training_text("p", "seg_0000"),
        keys.training_record("p"),
        keys.training_lease("p"),
        keys.job_record("j"),
        keys.job_audio("j", 0),
        keys.job_text("j", "seg_0000"),
        keys.lora("p", "m"),
        keys.lora_owner("p", "m"),
        keys.lora_version("p", "m", "v"),
        keys.lora_lease("p"),
        keys.model("p"),
        keys.model_config("p"),
        keys.output("p", "n", "wav"),
        keys.output(None, "n", "wav"),
    ]
    assert len(set(made)) == len(made)
    assert all(keys.is_key(key) for key in made)
    assert keys.to_path(keys.lora("p", "m")) == "/data/loras/p_m.safetensors"
    assert keys.to_path(keys.training_audio("p", 7)) == "/data/training_data/p/audio/seg_0007.wav"


def test_links_do_not_lead_out_of_the_folder(tmp_path: Path) -> None:
    outside, root = tmp_path / "outside", tmp_path / "root"
    outside.mkdir()
    root.mkdir()
    (outside / "secret").write_bytes(b"secret")
    (root / "folder").symlink_to(outside)
    (root / "file").symlink_to(outside / "secret")
    store = open_storage(root.as_uri())
    for key in ("file", "folder/secret"):
        assert store.stat(key) is None
        assert store.delete(key) is False
        with pytest.raises(NotFound):
            store.get(key)
        with pytest.raises(Unavailable):
            store.put(key, b"mine")
    assert list(store.list("")) == []
    assert (outside / "secret").read_bytes() == b"secret"
    assert [path.name for path in outside.iterdir()] == ["secret"]


def test_a_pipe_is_no_object_and_holds_nobody_up(tmp_path: Path) -> None:
    store = open_storage(tmp_path.as_uri())
    (tmp_path / "jobs").mkdir()
    os.mkfifo(tmp_path / "jobs/x.json")
    with pytest.raises(NotFound):
        store.get("jobs/x.json")
    with pytest.raises(NotFound):
        store.get_range("jobs/x.json", 0, 1)
    with pytest.raises(NotFound):
        store.get_file("jobs/x.json", tmp_path / "copy")
    assert store.stat("jobs/x.json") is None


def test_what_is_no_object_is_not_written_over(tmp_path: Path) -> None:
    """It is neither there nor absent: who tries until one of them is so would try for ever."""
    store = open_storage(tmp_path.as_uri())
    (tmp_path / "job_slots/admitted.json").mkdir(parents=True)
    assert store.stat("job_slots/admitted.json") is None
    for conditions in ({}, {"if_absent": True}, {"if_match": "x"}):
        with pytest.raises(Damaged):
            store.put("job_slots/admitted.json", b"{}", **conditions)  # type: ignore[arg-type]
    assert [path.name for path in (tmp_path / "job_slots").iterdir()] == ["admitted.json"]


def test_what_a_folder_holds(store: Storage) -> None:
    assert not store.holds("access/")
    store.put("access/mark", b"")
    assert store.holds("access/") and not store.holds("acc/")
    store.delete("access/mark")
    assert not store.holds("access/")


def test_what_a_crash_leaves_is_not_listed(tmp_path: Path) -> None:
    store = open_storage(tmp_path.as_uri())
    store.put("a/b", b"x")
    (tmp_path / "a" / ".new-123").write_bytes(b"half")
    assert [entry.key for entry in store.list("")] == ["a/b"]


def test_a_full_disk_is_507_and_loses_nothing(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 2**21) as disk:
        store = open_storage(disk.as_uri())
        store.put("a", b"kept")
        with pytest.raises(Unavailable) as refusal:
            store.put("a", bytes(4_000_000))
        assert refusal.value.status == 507
        assert store.get("a") == b"kept"
        store.put("b", bytes(1_000_000))


def test_other_urls_are_refused(tmp_path: Path) -> None:
    for url in ("file://host/folder", "http://x/y", "s3://", "folder", "file:folder"):
        with pytest.raises(ValueError, match="STORAGE_URL"):
            open_storage(url)
    assert open_storage("file:///srv/a%20b").root == Path("/srv/a b")  # type: ignore[attr-defined]


def test_the_local_default_imports_neither_boto3_nor_torch() -> None:
    code = "import storage, sys; storage.open_storage('file:///tmp/x'); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"boto3", "torch"} & set(done.stdout.split())


def test_a_bucket_that_is_not_there_and_wrong_secrets(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Unavailable, match="no bucket nowhere") as refusal:
        open_storage("s3://nowhere/x", s3_server.endpoint).get("a")
    assert refusal.value.status == 503
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(Unavailable, match="AWS_ACCESS_KEY_ID"):
        open_storage(f"s3://{BUCKET}/x", s3_server.endpoint).put("a", b"x")


def test_a_server_that_dies_is_503_and_its_answers_are_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    with serve_s3() as server:
        store = open_storage(server.url("x"), server.endpoint)
        etag = store.put("a", b"x")
        # A retry of a write whose answer was lost finds its own object in the way.
        put = store._client.put_object  # type: ignore[attr-defined]

        def twice(**request: object) -> object:
            put(**request)
            return put(**request)

        monkeypatch.setattr(store._client, "put_object", twice)  # type: ignore[attr-defined]
        assert store.put("b", b"y", if_absent=True) == store.get_with_etag("b")[1]
        assert store.put("a", b"z", if_match=etag) == store.get_with_etag("a")[1]
    start = time.monotonic()
    with pytest.raises(Unavailable) as refusal:
        store.get("a")
    assert refusal.value.status == 503
    assert time.monotonic() - start < 30
