"""Damaged input for every parser of bytes from strangers: sound files, adapters, imports, JSON bodies.

    python -m tests.stress.fuzz                                   10,000 cases for each parser
    python -m tests.stress.fuzz sounds --cases 1000 --seed 2      for one of them

Each case must be taken, or refused by the parser's own exception, within two seconds of CPU time. Any other ends the
run, and is written to fuzz-failure.bin; a crash of the process shows as such. (The whole of preprocessing, with what it
leaves behind: `python -m benchmarks.preprocessing fuzz`.)
"""

from __future__ import annotations

import argparse
import random
import resource
import time
from collections.abc import Iterator
from pathlib import Path

from tests.stress.parsers import PARSERS, Parser

MAX_SECONDS = 2.0
FAILURE = Path("fuzz-failure.bin")


def cases(parser: Parser, count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Damaged copies of the parser's inputs, in turns, with their names."""
    source = random.Random(seed)
    for number in range(count):
        name, data = parser.inputs[number % len(parser.inputs)]
        yield name, parser.damage(data, source)


def is_taken(parser: Parser, name: str, data: bytes) -> bool:
    """Whether the parser takes the data; False if it refuses it.

    Raises:
        TimeoutError: it took more than MAX_SECONDS of CPU time.
    """
    start = time.process_time()  # CPU time, so that other work of the machine does not count
    taken = parser.parse(name, data)
    if (seconds := time.process_time() - start) > MAX_SECONDS:
        raise TimeoutError(f"it took {seconds:.1f} s")
    return taken


def peak_mib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def run(kind: str, count: int, seed: int) -> None:
    """Send so many cases to a parser.

    Raises:
        MemoryError: the parser took more memory than it may.
    """
    parser = PARSERS[kind]()
    taken, slowest, before = 0, 0.0, peak_mib()
    for number, (name, data) in enumerate(cases(parser, count, seed)):
        start = time.process_time()
        try:
            taken += is_taken(parser, name, data)
        except BaseException:  # parsers in Rust raise their panics past Exception
            FAILURE.write_bytes(data)
            print(f"{kind}: case {number} ({name}) of seed {seed}, in {FAILURE}:")
            raise
        slowest = max(slowest, time.process_time() - start)
    grown = peak_mib() - before
    print(f"{kind}: {taken} taken, {count - taken} refused, the slowest in {slowest:.2f} s; memory grew by {grown} MiB")
    if parser.max_growth is not None and grown > parser.max_growth:
        raise MemoryError(f"{kind}: memory grew by {grown} MiB, of {parser.max_growth}")


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("parsers", nargs="*", metavar="parser", help=f"one of {', '.join(PARSERS)}; default: all")
    arguments.add_argument("--cases", type=int, default=10_000, help="for each parser")
    arguments.add_argument("--seed", type=int, default=1)
    given = arguments.parse_args()
    if unknown := set(given.parsers) - PARSERS.keys():
        arguments.error(f"unknown: {', '.join(sorted(unknown))}")
    for each in given.parsers or PARSERS:
        run(each, given.cases, given.seed)
