"""A page of a library of 10,000 tracks: milliseconds, and calls of storage, from a folder and from a bucket.

    python -m benchmarks.library [--tracks 10000] [--rounds 5]

Cold is a process that has read nothing yet. The bucket is SeaweedFS on this machine; each call is a request of S3.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

from generation.outbox import Outbox
from generation.track_library import TrackFilter, TrackLibrary
from generation.track_record import TrackRecord
from storage import keys, open_storage
from storage.record_index import Copy
from tests.s3_server import CREDENTIALS, serve_s3
from tests.tracks import NOON, CountedStorage, a_record

LIMIT = 50
FILTERS = {
    "the first page": TrackFilter(),
    "a word that one in 100 has": TrackFilter(text="kookaburra"),
    "a word that none has": TrackFilter(text="nothing"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tracks", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    os.environ |= CREDENTIALS
    with tempfile.TemporaryDirectory() as folder, serve_s3() as server:
        for name, url in (("folder", Path(folder, "store").as_uri()), ("bucket", server.url("library"))):
            storage = CountedStorage(open_storage(url, server.endpoint))
            fill(storage, options.tracks, Path(folder))
            for what, wanted in FILTERS.items():
                for state in ("cold", "warm"):
                    wall, cpu, calls = measure(storage, Path(folder), wanted, state == "warm", options.rounds)
                    print(f"{name}, {what}, {state}: {wall:.0f} ms ({cpu:.0f} ms of CPU), {calls} calls", flush=True)


def fill(storage: CountedStorage, count: int, folder: Path) -> None:
    """Add tracks as services do, but at once."""
    one = a_record()

    def add(number: int) -> tuple[TrackRecord, str]:
        name = keys.new_track_name(NOON + timedelta(seconds=number))
        prompt = "kookaburra" if number % 100 == 0 else "dark trap, 808"
        record = one.model_copy(update={"track_id": f"base:{name}", "prompt": prompt})
        return record, storage.put(record.stored_at, record.encoded())

    with ThreadPoolExecutor(16) as pool:
        added = list(pool.map(add, range(count)))
    if storage.local(added[0][0].stored_at) is None:
        index = library_of(storage, folder).index
        index.put({record.stored_at: Copy(etag, record.listed()) for record, etag in added})


def measure(
    storage: CountedStorage, folder: Path, wanted: TrackFilter, is_warm: bool, rounds: int
) -> tuple[float, float, int]:
    """The median milliseconds and those of CPU time, and the calls of storage."""
    wall, cpu = [], []
    for _ in range(rounds):
        library = library_of(storage, folder)
        if is_warm:
            library.page(wanted, None, LIMIT)
        storage.calls.clear()
        start, used = time.perf_counter(), time.process_time()
        library.page(wanted, None, LIMIT)
        wall.append(1000 * (time.perf_counter() - start))
        cpu.append(1000 * (time.process_time() - used))
        calls = storage.calls.total()
    return statistics.median(wall), statistics.median(cpu), calls


def library_of(storage: CountedStorage, folder: Path) -> TrackLibrary:
    return TrackLibrary(Outbox(storage, uuid.uuid4().hex, folder / "outbox"))  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
