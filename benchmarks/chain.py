"""Whether tracks get duller when they are edited again and again, with their latents kept and without."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks import starter
from benchmarks.measure import Figure
from contract import SamplingOptions
from generation.editing.recordings import Samples
from generation.editing.windows import Window
from models.ace_step import AceStep
from models.base import Latents, Row
from recipes.synthesiser import text

TRACKS, EDITS = 8, 5
SECONDS = 6.0
BANDS = ((3_000, 6_000), (6_000, 11_000))
# Taken in turn, so that each edit follows nothing but what the edit before it made.
_WINDOWS = (Window(0.0, SECONDS / 2, SECONDS), Window(SECONDS / 2, SECONDS, SECONDS))


def measure(rounds: int) -> Iterator[Figure]:
    """The level of what the last edit made against that of what the first made in the same window."""
    model = starter.load()
    songs = [starter.song(number) for number in range(TRACKS)]
    prompts = [text(song, np.random.default_rng(number), held_out=True) for number, song in enumerate(songs)]
    rows = [Row(prompt, SECONDS, SamplingOptions(seed=number)) for number, prompt in enumerate(prompts)]
    tracks = starter.made(model, rows)
    for keeps, kind, target in ((True, "kept", "≤ 1"), (False, "not kept", "")):
        first, *_, last = _edits(model, rows, tracks, keeps)
        for band in BANDS:
            changes = [
                _level(after, band, model.sample_rate) - _level(before, band, model.sample_rate)
                for before, after in zip(first, last, strict=True)
            ]
            mean, sign = float(np.mean(changes)), "louder" if np.mean(changes) > 0 else "quieter"
            where = f"{band[0] // 1000} to {band[1] // 1000} kHz"
            yield Figure(f"after five edits, latents {kind}: dB {sign} at {where}", target, abs(mean))


def _edits(
    model: AceStep, rows: Sequence[Row], tracks: Sequence[tuple[Samples, Latents]], keeps: bool
) -> Iterator[list[Samples]]:
    """The samples after each edit."""
    for number in range(EDITS):
        window = _WINDOWS[number % len(_WINDOWS)]
        asked = [
            Row(
                row.text,
                SECONDS,
                # Edits of one window start from the same noise, so that what differs is what the chain does to them.
                SamplingOptions(seed=row.options.seed + 1_000 * (1 + number % len(_WINDOWS))),
                edit=starter.edit(model, samples, window, latents if keeps else None),
            )
            for row, (samples, latents) in zip(rows, tracks, strict=True)
        ]
        tracks = starter.edited(model, asked, [samples for samples, _ in tracks], [window] * len(rows))
        yield [samples for samples, _ in tracks]


def _level(samples: NDArray[np.float32], band: tuple[int, int], rate: int) -> float:
    """The level of a band in the window of the first and last edit, in dB."""
    made = samples[: round(_WINDOWS[0].end * rate)].mean(axis=1)
    power = np.abs(np.fft.rfft(made)) ** 2
    frequencies = np.fft.rfftfreq(len(made), 1 / rate)
    return float(10 * np.log10(power[(frequencies >= band[0]) & (frequencies < band[1])].mean()))
