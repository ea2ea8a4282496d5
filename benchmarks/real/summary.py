"""What each recipe keeps of the base model's rhythm and harmony, and how near it comes, over several composers.

    python -m benchmarks.real.summary FILE…

The files are those of `benchmarks.real.recipes --out`. Prints a table for each backend: pulse, persistence and distance
as shares of the base model's, each of the mean over composers and seeds, with intervals of 95 % by a bootstrap over
composers and, within them, over seeds. `*` is a share that is better than the default recipe's, and `!` one that is
worse, by more than the interval of their difference; `–` stands where the base model's own figure is too uncertain to
divide by. `lost` are the composers whose rhythm or harmony is lost by the
rule of the report.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.real.figures import DISTANCE
from training.evaluation.heard import MEASURES, Change
from training.evaluation.intervals import RESAMPLES, Interval, bootstrap, interval

BASE, DEFAULT, REAL = "base", "default", "real"

# A value for each seed, by the figure's name.
Figures = dict[str, NDArray[np.float64]]
# By recipe and composer, in the order of the files.
Rows = dict[str, dict[str, Figures]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+")
    options = parser.parse_args()
    lines = [line for file in options.files for line in file.read_text().splitlines()]
    for backend, rows in by_backend(lines).items():
        print(f"\n### {backend}\n\n{table(rows)}")


def by_backend(lines: Iterable[str]) -> dict[str, Rows]:
    """The rows of a file, of which a later one replaces an earlier one of the same recipe and composer."""
    backends: dict[str, Rows] = {}
    for line in lines:
        row = json.loads(line)
        figures = {name: np.array(values) for name, values in row["figures"].items()}
        backends.setdefault(row["backend"], {}).setdefault(row["recipe"], {})[row["composer"]] = figures
    return backends


def table(rows: Rows) -> str:
    columns = [*MEASURES, DISTANCE]
    lines = [f"| recipe | composers | {' | '.join(columns)} | lost |", f"|{'---|' * (len(columns) + 3)}"]
    for name in rows:
        if name not in (BASE, REAL):
            shares = [_cell(rows, name, column) for column in columns]
            lost = ", ".join(composer for composer in rows[name] if is_lost(rows, name, composer))
            lines.append(f"| {name} | {len(rows[name])} | {' | '.join(shares)} | {lost or 'none'} |")
    return "\n".join(lines)


def _cell(rows: Rows, name: str, column: str) -> str:
    own = share(rows, name, column)
    if own.base.low < own.base.value / 2:
        return "–"
    if name == DEFAULT:
        return str(own.interval)
    by = gain(rows, name, column)
    better, worse = (by.high < 0, by.low > 0) if column == DISTANCE else (by.low > 0, by.high < 0)
    return f"{own.interval}{'*' if better else '!' if worse else ''}"


@dataclass(frozen=True)
class Share:
    """A figure as a share of the base model's.

    Attributes:
        value: of all composers and seeds.
        samples: of each resample, `[RESAMPLES]`.
        base: the base model's figure.
    """

    value: float
    samples: NDArray[np.float64]
    base: Interval

    @property
    def interval(self) -> Interval:
        return interval(self.value, self.samples)


def share(rows: Rows, name: str, column: str, composers: Iterable[str] | None = None) -> Share:
    """A recipe's share of those composers, all of its own by default.

    The composers and seeds of a resample are the same for every recipe that has the same composers.
    """
    chosen = list(rows[name]) if composers is None else list(composers)
    twin, base = (np.stack([rows[which][composer][column] for composer in chosen]) for which in (name, BASE))
    rng = np.random.default_rng(0)
    drawn = rng.integers(len(chosen), size=(RESAMPLES, len(chosen), 1))
    seeds = rng.integers(twin.shape[1], size=(RESAMPLES, *twin.shape))
    with_twin, without = (figures[drawn, seeds].mean(axis=(1, 2)) for figures in (twin, base))
    return Share(float(twin.mean() / base.mean()), with_twin / without, interval(base.mean(), without))


def gain(rows: Rows, name: str, column: str) -> Interval:
    """By how much a recipe's share is above the default's, of the composers that both have."""
    both = [composer for composer in rows[DEFAULT] if composer in rows[name]]
    own, default = (share(rows, which, column, both) for which in (name, DEFAULT))
    return interval(own.value - default.value, own.samples - default.samples)


def is_lost(rows: Rows, name: str, composer: str) -> bool:
    """Whether a recipe's rhythm or harmony is below the base model's, by the rule of the report."""
    own, base, real = (rows[which][composer] for which in (name, BASE, REAL))
    return any(
        Change(
            own=bootstrap(real[column]),
            codec=None,
            without=bootstrap(base[column]),
            with_twin=bootstrap(own[column]),
            difference=bootstrap(own[column] - base[column]),
        ).lost
        for column in MEASURES
    )


if __name__ == "__main__":
    main()
