"""The library of tracks: pages, filters, changes, and what they cost."""

from __future__ import annotations

import gzip
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contract import TrackChanges
from core.errors import Refusal
from core.principal import Principal, acting
from core.settings import Settings
from generation.encode import Sound
from generation.outbox import Outbox
from generation.track_library import TrackFilter, TrackLibrary
from generation.track_record import TrackRecord, parse
from generation.waveform import waveform
from storage import Storage, index_writer, keys, open_storage
from storage.record_index import Copy
from tests.s3_server import S3Server, s3_server
from tests.tracks import NOON, CountedStorage, a_record
from training.jobs.retention import clean
from training.jobs.store import Jobs

__all__ = ["s3_server"]
ALL = TrackFilter()
ADA = Principal("key ada", producers=frozenset({"ada"}))
USER = Principal("user u", producers=frozenset(), tracks="user-u")
GUEST = Principal("guest", frozenset({"generate"}), frozenset(), tracks="anonymous")
ARTIST = Principal("key g", frozenset({"generate"}))


def library_of(store: Any, folder: Path) -> TrackLibrary:
    return TrackLibrary(Outbox(store, uuid.uuid4().hex, folder / "outbox"))


@pytest.fixture
def library(store: Storage, tmp_path: Path) -> TrackLibrary:
    return library_of(store, tmp_path)


def added(library: TrackLibrary, *made: TrackRecord) -> None:
    for record in made:
        library.storage.put(record.output_path.removeprefix("/data/"), b"audio")
        library.add(record)


def ids(found: list[TrackRecord]) -> list[str]:
    return [record.track_id for record in found]


def listed(library: TrackLibrary, wanted: TrackFilter = ALL, limit: int = 2) -> list[str]:
    """The ids of all pages."""
    found, cursor = library.page(wanted, None, limit)
    while cursor:
        more, cursor = library.page(wanted, cursor, limit)
        found += more
    return ids(found)


def test_pages_are_in_order_and_whole(library: TrackLibrary) -> None:
    made = [a_record(minute, producer) for minute, producer in enumerate([None, "ada", "bob", None, "ada"])]
    added(library, *made)
    expected = ids(made[::-1])
    for limit in (1, 2, 4, 5, 6):
        assert listed(library, limit=limit) == expected
    first, cursor = library.page(ALL, None, 5)
    assert ids(first) == expected and cursor is None


def test_a_track_that_is_added_does_not_shift_the_next_page(library: TrackLibrary) -> None:
    made = [a_record(minute) for minute in range(4)]
    added(library, *made)
    _, cursor = library.page(ALL, None, 2)
    added(library, a_record(9))
    assert ids(library.page(ALL, cursor, 2)[0]) == ids([made[1], made[0]])


def test_filters(library: TrackLibrary) -> None:
    version = "0f1e2d3c4b5a6978"
    night = a_record(1, "ada", twins=(f"ada:night@{version}",), lora_id="ada:night", prompt="Dark TRAP, 808")
    sung = a_record(2, None, prompt="a ballad", lyrics="by the fire")
    child = a_record(3, "ada").model_copy(update={"parent": night.track_id})
    added(library, night, sung, child)
    library.change(sung.track_id, TrackChanges(title="Über den Wolken", liked=True))
    for wanted, expected in (
        (TrackFilter(lora_id="ada:night"), [night]),
        (TrackFilter(lora_id=f"ada:night@{version}"), [night]),
        (TrackFilter(lora_id=f"ada:night@{'0' * 16}"), []),
        (TrackFilter(producer_id="ada"), [child, night]),
        (TrackFilter(text="808 dark"), [night]),
        (TrackFilter(text="FIRE"), [sung]),
        (TrackFilter(text="über"), [sung]),
        (TrackFilter(text="dark fire"), []),
        (TrackFilter(parent=night.track_id), [child]),
        (TrackFilter(liked=True), [sung]),
    ):
        assert listed(library, wanted, limit=1) == ids(expected), wanted


def test_each_principal_is_listed_its_own(library: TrackLibrary) -> None:
    base, ada, bob = a_record(1), a_record(2, "ada"), a_record(3, "bob")
    own, shared = a_record(4, "ada", "user-u"), a_record(5, None, "anonymous")
    added(library, base, ada, bob, own, shared)
    for who, expected in ((None, [bob, ada, base]), (ADA, [ada]), (USER, [own]), (GUEST, [])):
        with acting(who or Principal("this machine")):
            assert listed(library) == ids(expected), who


@pytest.mark.parametrize(
    ("who", "track", "status"),
    [
        (ADA, a_record(0, "ada"), 0),
        (ADA, a_record(0, "bob"), 404),
        (ADA, a_record(0), 403),
        (USER, a_record(0, None, "user-u"), 0),
        (USER, a_record(0, None, "user-v"), 404),
        (USER, a_record(0, None, "anonymous"), 403),
        (GUEST, a_record(0, None, "anonymous"), 403),
        (GUEST, a_record(0), 403),
        (ARTIST, a_record(0, "ada"), 403),
        (ARTIST, a_record(0), 403),
    ],
)
def test_who_may_change_a_track(library: TrackLibrary, who: Principal, track: TrackRecord, status: int) -> None:
    added(library, track)
    with acting(who):
        if not status:
            assert library.change(track.track_id, TrackChanges(liked=True)).liked
            assert len(library.delete(track.track_id)) == 2
            return
        for call in (library.delete, lambda id: library.change(id, TrackChanges(liked=True))):
            with pytest.raises(Refusal) as refused:
                call(track.track_id)
            assert refused.value.status == status
    assert library.find(track.track_id) == track


def test_changes_at_once_are_all_kept(library: TrackLibrary, tmp_path: Path) -> None:
    track = a_record()
    added(library, track)
    # Between another replica's read and its write, this one writes.
    other = library_of(Interrupted(library.storage, lambda: library.change(track.track_id, LIKED)), tmp_path / "other")
    other.change(track.track_id, TrackChanges(title="Night drive"))
    found = library.find(track.track_id)
    assert (found.title, found.liked) == ("Night drive", True)
    assert library.change(track.track_id, TrackChanges(title="")).title is None
    assert [record.title for record in library.page(ALL, None, 1)[0]] == [None]


LIKED = TrackChanges(liked=True)


class Interrupted:
    """A storage whose first conditional write comes after another's."""

    def __init__(self, storage: Storage, first: Any) -> None:
        self._storage, self._first = storage, first

    def put(self, *args: Any, **options: Any) -> str:
        first, self._first = self._first, None
        if first:
            first()
        return self._storage.put(*args, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)


def test_a_damaged_record_is_left_out_and_can_be_deleted(library: TrackLibrary) -> None:
    damaged, whole = a_record(1), a_record(2)
    added(library, damaged, whole)
    library.storage.put(damaged.stored_at, b"{}")
    assert listed(library) == ids([whole])
    with pytest.raises(Refusal, match="damaged"):
        library.find(damaged.track_id)
    assert set(library.delete(damaged.track_id)) == {damaged.output_path.removeprefix("/data/"), damaged.stored_at}
    with pytest.raises(Refusal, match="no track"):
        library.find(damaged.track_id)


def test_a_record_that_leaves_the_outbox_meanwhile(
    library: TrackLibrary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    track = a_record()
    added(library, track)
    monkeypatch.setattr(library.outbox, "waiting", lambda key: tmp_path / "sent")
    assert library.find(track.track_id) == track


def test_a_record_of_a_later_version_is_read(library: TrackLibrary) -> None:
    track = a_record()
    text = track.encoded().decode().replace('"title"', '"mood": "calm", "title"', 1)
    library.storage.put(track.stored_at, text.encode())
    assert library.find(track.track_id) == track


@pytest.mark.parametrize("id", ["", "base", "base:", "base:../x", "made:x", "twins:ada:.x", "other:x", "base:a:b", "é"])
def test_ids_that_are_none(library: TrackLibrary, id: str) -> None:
    for call in (library.find, library.delete):
        with pytest.raises(Refusal) as refused:
            call(id)
        assert refused.value.status == 404


@pytest.mark.parametrize("track", [a_record(), a_record(0, "ada"), a_record(0, "ada", "user-u")])
def test_ids_and_keys(track: TrackRecord) -> None:
    key = track.output_path.removeprefix("/data/")
    assert keys.track_of(track.track_id) == key and keys.track_id(key) == track.track_id
    assert keys.track_of_record(track.stored_at) == track.track_id
    assert keys.track_companions(key) == (track.stored_at, keys.latents(key)) and keys.track_companions("outputs") == ()


def test_retention_takes_the_record_along(library: TrackLibrary) -> None:
    added(library, a_record(0, "ada"))
    jobs = Jobs(library.storage)
    assert clean(library.storage, jobs, Settings(keep_outputs_days=1.0), library.storage.delete) == {}
    assert clean(library.storage, jobs, Settings(keep_outputs_days=1e-9), library.storage.delete) == {"outputs": 1}
    assert not list(library.storage.list("track_records/")) and listed(library) == []


def test_the_waveform() -> None:
    ramp = np.linspace(0, 1, 48_000, dtype=np.float32)
    drawn = waveform(Sound((np.stack([0 * ramp, -ramp], 1),), 48_000))
    assert len(drawn) == 800 and drawn[0] == 0 and drawn[-1] == 255 and list(drawn) == sorted(drawn)
    assert waveform(Sound((np.zeros((3, 1), np.int16),), 48_000)) == bytes(3)


@pytest.mark.slow
def test_the_first_of_10000_tracks_in_a_folder_come_fast(tmp_path: Path) -> None:
    """In CPU time, since other tests may run at once."""
    folder, one = tmp_path / "store", a_record()
    (folder / keys.track_records()).mkdir(parents=True)
    for second in range(10_000):
        name = keys.new_track_name(NOON + timedelta(seconds=second))
        record = one.model_copy(update={"track_id": f"base:{name}"})
        (folder / record.stored_at).write_bytes(record.encoded())
    library = library_of(open_storage(folder.as_uri()), tmp_path)
    start = time.process_time()
    found, cursor = library.page(ALL, None, 50)
    assert time.process_time() - start < 0.1
    assert found[0].track_id == record.track_id and cursor


@pytest.fixture
def counted(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> CountedStorage:
    """A folder of a bucket, whose index is written by `flush` alone."""
    monkeypatch.setattr(index_writer, "PAUSE_SECONDS", 3600.0)
    return CountedStorage(open_storage(s3_server.url(f"tests/{uuid.uuid4().hex}"), s3_server.endpoint))


def cold_page(
    counted: CountedStorage, folder: Path, cursor: str | None = None, limit: int = 50
) -> tuple[Any, Any, int]:
    """A page of a process that has read nothing yet: its ids, its cursor, and the calls of storage."""
    counted.calls.clear()
    found, after = library_of(counted, folder / uuid.uuid4().hex).page(ALL, cursor, limit)
    return ids(found), after, counted.calls.total()


def test_a_page_costs_a_call_of_s3(counted: CountedStorage, tmp_path: Path) -> None:
    library = library_of(counted, tmp_path)
    made = [a_record(minute) for minute in range(7)]
    for record in made:
        library.add(record)
    counted.calls.clear()
    found, cursor = library.page(ALL, None, 3)
    assert counted.calls == {"list": 1} and ids(found) == ids(made[:3:-1])
    assert ids(library.page(ALL, cursor, 3)[0]) == ids(made[3:0:-1]) and counted.calls == {"list": 2}


@pytest.mark.slow
def test_each_page_of_another_process_costs_three_calls_of_s3(counted: CountedStorage, tmp_path: Path) -> None:
    one = a_record()
    names = [f"base:{keys.new_track_name(NOON + timedelta(seconds=second))}" for second in range(2_500)][::-1]
    written = {}
    for name in names:  # the records themselves are left out where no page looks for them
        record = one.model_copy(update={"track_id": name})
        written[record.stored_at] = Copy("", record.listed())
    library = library_of(counted, tmp_path)
    with ThreadPoolExecutor(16) as pool:
        stored = pool.map(lambda key: counted.put(key, parse(written[key].text.encode(), key).encoded()), written)
        etags = dict(zip(written, stored, strict=True))
    library.index.put({key: Copy(etags[key], copy.text) for key, copy in written.items()})
    seen, cursor = [], None
    while True:
        page, cursor, calls = cold_page(counted, tmp_path, cursor, 100)
        assert calls <= 3
        seen += page
        if not cursor:
            break
    assert seen == names


def test_the_index_follows_what_is_added_changed_and_deleted(counted: CountedStorage, tmp_path: Path) -> None:
    library = library_of(counted, tmp_path)
    made = [a_record(minute) for minute in range(9)]
    added(library, *made)
    library.index_writer.flush()
    library.change(made[3].track_id, TrackChanges(title="Night drive"))
    library.delete(made[5].track_id)
    expected = ids([*made[:5], *made[6:]][::-1])
    page, _, calls = cold_page(counted, tmp_path)
    assert page == expected and calls == 4  # the changed record is read by itself until the index has it
    library.index_writer.flush()
    page, _, calls = cold_page(counted, tmp_path)
    assert page == expected and calls == 3
    assert library_of(counted, tmp_path / "b").page(TrackFilter(text="night"), None, 9)[0][0].title == "Night drive"
    for leaf in counted.list(keys.TRACK_INDEX):
        assert made[5].track_id.partition(":")[2] not in gzip.decompress(counted.get(leaf.key)).decode()


def test_a_reader_mends_an_index_that_is_missing_or_damaged(counted: CountedStorage, tmp_path: Path) -> None:
    made = [a_record(minute) for minute in range(9)]
    added(library_of(counted, tmp_path), *made)  # of a process that ended at once
    for damage in (lambda key: counted.delete(key), lambda key: counted.put(key, b"no leaf")):
        reader = library_of(counted, tmp_path / uuid.uuid4().hex)
        assert ids(reader.page(ALL, None, 50)[0]) == ids(made[::-1])
        reader.index_writer.flush()
        assert cold_page(counted, tmp_path)[2] == 3
        damage(next(counted.list(keys.TRACK_INDEX)).key)


def test_a_copy_that_a_deletion_left_is_never_listed_and_is_swept(counted: CountedStorage, tmp_path: Path) -> None:
    library = library_of(counted, tmp_path)
    made = [a_record(minute) for minute in range(4)]
    added(library, *made)
    library.index_writer.flush()
    counted.delete(made[1].stored_at)  # the process ends before the index is told
    page, _, calls = cold_page(counted, tmp_path)
    assert page == ids([made[3], made[2], made[0]]) and calls == 3
    clean(counted, Jobs(counted), Settings(), counted.delete)
    assert library.index.sweep() == 0
    assert set(library.index.find(list(counted.list(keys.track_records())))) == {
        record.stored_at for record in (made[0], made[2], made[3])
    }
