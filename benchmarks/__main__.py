"""Batches of different adapters, against one request at a time, PEFT's mixed batch, and the base model.

    python -m benchmarks [--rounds 7] [--only dit,lengths]    # a part for each key of PARTS; all of them by default

Prints a table and updates the measured parts of docs/benchmarks.json and docs/benchmarks.svg. The compared
implementations alternate within a run, and their times are compared round by round: medians, with confidence intervals
of 95 %. In-process times are CPU time in one thread; those of `row`, `served`, `streaming` and `takes` are wall time on
all cores.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict

import torch

from benchmarks import acts, chain, dit, footprint, latecomer, seams, served, streaming, takes, tasks, tokens
from benchmarks.measure import Figure
from core.settings import ROOT
from models import malloc

PARTS: dict[str, Callable[[int], Iterator[Figure]]] = {
    "dit": dit.measure,
    "lengths": dit.lengths,
    "row": dit.one_row,
    "strangers": dit.strangers,
    "tasks": tasks.measure,
    "seams": seams.measure,
    "chain": chain.measure,
    "acts": acts.measure,
    "tokens": tokens.measure,
    "latecomer": latecomer.measure,
    "served": served.measure,
    "takes": takes.measure,
    "streaming": streaming.measure,
    "footprint": footprint.measure,
}
TABLE, PICTURE = ROOT / "docs" / "benchmarks.json", ROOT / "docs" / "benchmarks.svg"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", default=",".join(PARTS), help="parts, separated by commas")
    options = parser.parse_args()
    malloc.keep_freed_memory()  # as in a runner; for all compared implementations
    for part in options.only.split(","):
        torch.set_num_threads(os.cpu_count() or 1 if part in ("served", "row", "takes", "streaming") else 1)
        figures: list[dict] = []
        measured = {
            "date": time.strftime("%Y-%m-%d"),
            "machine": f"{os.cpu_count()} × {_processor()}, torch {torch.__version__}",
            "rounds": options.rounds,
            "figures": figures,
        }
        for figure in PARTS[part](options.rounds):
            print(figure, flush=True)
            figures.append({name: _plain(value) for name, value in asdict(figure).items()})
            TABLE.write_text(json.dumps(_table() | {part: measured}, indent=2, ensure_ascii=False) + "\n")
    table = _table()
    draw({part: table[part] for part in PARTS if part in table})


def _table() -> dict:
    """The stored table, with parts that another run has measured meanwhile."""
    return dict(json.loads(TABLE.read_text())) if TABLE.exists() else {}


def draw(table: dict) -> None:
    """Each ratio beside its target, on a logarithmic scale."""
    import matplotlib.pyplot as plt

    figures = [Figure(**_unplain(each)) for part in table.values() for each in part["figures"]]
    shown = [each for each in figures if each.target]
    fig, axes = plt.subplots(figsize=(11, 0.34 * len(shown) + 1))
    for row, each in enumerate(reversed(shown)):
        bound = float(each.target.split()[1])
        # How many times better than the target: further right is better.
        better = [max(value, 1e-12) / bound for value in (each.value, each.low, each.high)]
        if each.target.startswith("≤"):
            better = [1 / value for value in better]
        colour = "tab:green" if each.met else "tab:red"
        axes.plot(better[0], row, "o", color=colour)
        if not math.isnan(each.low):
            axes.plot(better[1:], [row, row], "-", color=colour)
        axes.text(1.01, row, f"{each.value:.3g}", transform=axes.get_yaxis_transform(), va="center")
    axes.axvline(1, color="black", linewidth=1)
    axes.set(xscale="log", xlim=(0.2, 100), xlabel="times better than the target", yticks=range(len(shown)))
    axes.set_yticklabels([f"{each.name}  {each.target}" for each in reversed(shown)], fontsize=8)
    fig.savefig(PICTURE, bbox_inches="tight", metadata={"Date": None})


def _plain(value: object) -> object:
    return None if isinstance(value, float) and math.isnan(value) else value


def _unplain(figure: dict) -> dict:
    return {name: math.nan if value is None else value for name, value in figure.items()}


def _processor() -> str:
    with open("/proc/cpuinfo") as info:
        return next(
            (line.split(":", 1)[1].strip() for line in info if line.startswith("model name")), platform.machine()
        )


if __name__ == "__main__":
    main()
