"""Sound files with damaged headers: each is read or refused by BadAudio, within two seconds, in little memory.

    python -m tests.stress.headers [--cases 10000] [--seed 1]

A case that fails is written to header-failure.bin.
"""

from __future__ import annotations

import argparse
import random
import resource
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from preprocessing.decode import BadAudio, blocks, check_bytes
from tests.sounds import id3, kinds
from tests.stress.mutations import damaged

SLOWEST = 2.0  # seconds of CPU time; what else the machine does must not count
MEMORY = 1024  # MiB, of the whole process


def good_files() -> dict[str, bytes]:
    """Short ones of every kind, and some with tags or one after the other."""
    files = dict(kinds(0.2))
    files["mp3 tagged"] = id3(b"TIT2\0\0\0\2\0\0\0a") + files["mp3"] + b"TAG" + bytes(125)
    files["chained"] = files["vorbis"] * 2
    return files


def cases(count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    source = random.Random(seed)
    files = sorted(good_files().items())
    for number in range(count):
        name, data = files[number % len(files)]
        yield name, damaged(data, source)


def is_read(data: bytes, path: Path) -> bool:
    """Whether it is read to its end; False if it is refused. Raises TimeoutError, and whatever else goes wrong."""
    start = time.process_time()
    path.write_bytes(data)
    read = 0
    for part in (lambda: check_bytes(data), lambda: sum(len(block) for block in blocks(path))):
        try:
            part()
            read += 1
        except BadAudio:
            pass
    taken = time.process_time() - start
    if taken > SLOWEST:
        raise TimeoutError(f"it took {taken:.1f} s")
    return read == 2


def run(count: int, seed: int) -> None:
    counted: Counter[bool] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, data) in enumerate(cases(count, seed)):
            try:
                counted[is_read(data, Path(folder) / "case")] += 1
            except Exception:
                Path("header-failure.bin").write_bytes(data)
                print(f"case {number} ({name}) of seed {seed}, in header-failure.bin:")
                raise
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"{counted[True]} read, {counted[False]} refused by BadAudio; at most {used} MiB")
    if used > MEMORY:
        raise MemoryError(f"{used} MiB were used, {MEMORY} at most should be")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    run(given.cases, given.seed)
