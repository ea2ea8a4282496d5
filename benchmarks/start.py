"""Seconds from `bentoml serve` to a ready front, and the CPU seconds that each process has taken until then.

    python -m benchmarks.start [--rounds 3]

The starters are served, with files as the operating system has them in memory after the first round.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import psutil

from scripts.serving import serving


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    for number in range(1, options.rounds + 1):
        with tempfile.TemporaryDirectory(prefix="start-") as folder:
            began = time.monotonic()
            with serving(Path(folder)) as server:
                seconds = time.monotonic() - began
                supervisor = psutil.Process(server.process.pid)
                taken = {_name(each): _cpu(each) for each in [supervisor, *supervisor.children(recursive=True)]}
        parts = ", ".join(f"{name} {cpu:.1f}" for name, cpu in taken.items())
        print(f"round {number}: {seconds:.1f} s; CPU seconds {sum(taken.values()):.1f}: {parts}", flush=True)


def _name(process: psutil.Process) -> str:
    line = process.cmdline()
    if "--service-name" in line:
        return line[line.index("--service-name") + 1]
    return "sandbox" if "core.sandbox.child:serve" in line else "supervisor"


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


if __name__ == "__main__":
    main()
