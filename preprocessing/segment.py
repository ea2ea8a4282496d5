"""Cut a song into segments of 15 s, or of whole bars, in constant memory."""

from __future__ import annotations

import wave
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from math import ceil, log10
from pathlib import Path
from typing import Literal

import numpy as np
import soxr
from numpy.typing import NDArray

from preprocessing.decode import blocks, probe
from preprocessing.decoders import Samples
from preprocessing.flaws import NO_FLAWS, Flaws
from preprocessing.levels import SILENCE

SEGMENT_SECONDS = 15
MIN_SECONDS = 1.0  # a shorter tail is dropped
MIN_LEFTOVER_SECONDS = 5.0  # what a cut on bars leaves before and after the whole segments is dropped if it is shorter
TARGET_PEAK = 10 ** (-1 / 20)  # −1 dBFS
CACHE_FRAMES = 16_384  # frames that fit into a core's cache
BARS_PER_PHRASE = 4

CONTRACT_RATE, CONTRACT_CHANNELS = 44_100, 1

Dropped = Literal["silent", "short"]


@dataclass(frozen=True)
class Segment:
    """A part of a song.

    Attributes:
        start: seconds from the song's beginning.
        samples: (frames, channels) with their peak at −1 dBFS; None if the segment is dropped.
        dropped: why it is dropped.
        gain: that of `samples` over the song, in dB.
    """

    start: float
    seconds: float
    samples: Samples | None
    dropped: Dropped | None = None
    gain: float = 0.0


@dataclass(frozen=True)
class Grid:
    """Where to cut, in seconds: at `first` (less than `seconds`), and every `seconds` after it."""

    first: float = 0.0
    seconds: float = SEGMENT_SECONDS


def bar_grid(downbeat: float, bar: float) -> Grid:
    """A grid of as many whole bars as fit into 15 s, in whole phrases if one fits. All in seconds."""
    bars = max(1, int(SEGMENT_SECONDS / bar))
    return Grid(downbeat, (bars - bars % BARS_PER_PHRASE if bars > BARS_PER_PHRASE else bars) * bar)


def segments(
    path: Path,
    rate: int = CONTRACT_RATE,
    channels: int = CONTRACT_CHANNELS,
    grid: Grid | None = None,
    flaws: Flaws = NO_FLAWS,
) -> Iterator[Segment]:
    """Cut a song into consecutive segments, of 15 s by default, with its flaws repaired.

    Segments that are silent after mixing and resampling, or too short (under 1 s, and under 5 s on a grid of bars), are
    yielded without samples.

    Raises:
        BadAudio: at a fault in the file, possibly after the first segments.
    """
    shortest = MIN_LEFTOVER_SECONDS if grid else MIN_SECONDS
    grid = grid or Grid()
    ends = (round((grid.first + number * grid.seconds) * rate) for number in count(0 if grid.first else 1))
    gathered = np.empty((ceil(grid.seconds * rate) + 1, channels), np.float32)
    start, end, filled = 0, next(ends), 0
    for block in resampled(path, rate, channels, flaws):
        while len(block):
            taken = block[: end - start - filled]
            gathered[filled : filled + len(taken)] = taken
            filled += len(taken)
            block = block[len(taken) :]
            if start + filled == end:
                yield _segment(gathered[:filled], start, rate, shortest)
                start, end, filled = end, next(ends), 0
    if filled:
        yield _segment(gathered[:filled], start, rate, shortest)


def resampled(path: Path, rate: int, channels: int, flaws: Flaws = NO_FLAWS) -> Iterator[Samples]:
    """Blocks of a song at `rate` Hz with `channels`, its flaws repaired. Raises BadAudio."""
    mixed = (mix(flaws.repair(block), channels) for block in blocks(path))
    source_rate = probe(path).sample_rate
    if source_rate == rate:
        yield from mixed
        return
    stream = soxr.ResampleStream(source_rate, rate, channels, dtype="float32", quality="HQ")
    for block in mixed:
        yield stream.resample_chunk(block)
    yield stream.resample_chunk(np.empty((0, channels), np.float32), last=True)


def mix(block: Samples, channels: int) -> Samples:
    """(frames, any number) to (frames, channels): unchanged if equal, else the mean of all channels, repeated."""
    if block.shape[1] == channels:
        return block
    mono = (block @ np.full(block.shape[1], 1 / block.shape[1], np.float32))[:, None]
    return mono if channels == 1 else np.repeat(mono, channels, axis=1)


def write_wav(path: Path, samples: Samples, rate: int) -> None:
    """Write floats within ±1, (frames, channels), as a 16-bit WAV file."""
    # Not libsndfile, which waits for the disk after each file.
    with wave.open(str(path), "wb") as file:
        file.setnchannels(samples.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(to_pcm16(samples).astype("<i2", copy=False).data)


def to_pcm16(samples: Samples) -> NDArray[np.int16]:
    """Floats within ±1 as 16-bit integers of the same shape."""
    integers = np.empty(samples.shape, np.int16)
    for start in range(0, len(samples), CACHE_FRAMES):
        scaled = samples[start : start + CACHE_FRAMES] * np.float32(32768)
        np.clip(np.rint(scaled, out=scaled), -32768, 32767, out=scaled)
        integers[start : start + CACHE_FRAMES] = scaled
    return integers


def _segment(samples: Samples, start: int, rate: int, shortest: float) -> Segment:
    seconds = len(samples) / rate
    peak = float(max(samples.max(), -samples.min()))
    if seconds < shortest:
        return Segment(start / rate, seconds, None, "short")
    if peak < SILENCE:
        return Segment(start / rate, seconds, None, "silent")
    gain = TARGET_PEAK / peak
    return Segment(start / rate, seconds, samples * np.float32(gain), gain=20 * log10(gain))
