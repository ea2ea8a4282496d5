"""A source as a song: listened to, and cut into the pieces that are trained on."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import soundfile

from contract import SegmentOn
from preprocessing.analysis import Analysis, analyse
from preprocessing.captions import Caption, Known, Tags
from preprocessing.decode import blocks
from preprocessing.metadata import said
from preprocessing.segment import (
    CONTRACT_RATE,
    SHORTEST,
    Grid,
    bar_grid,
    segments,
    write_wav,
)
from preprocessing.sources import Source

# A bar of 6/8 has three of the beats that bpm counts.
BEATS = {"2": 2, "3": 3, "4": 4, "6": 3}


@dataclass
class Piece:
    """A clip in the making. `listen` is what the tagger gets: a WAV file of 15 s or less."""

    path: Path
    listen: Path
    song: int
    start: float
    seconds: float
    tags: Tags | None = None
    caption: Caption | None = None


@dataclass
class Song:
    """`cut_on` is what its pieces were cut on in the end; `dropped` counts what was left out, by reason.

    `warnings` are sentences about what is wrong in the file or in what is said of it.
    """

    source: Source
    metadata: dict[str, Any]
    analysis: Analysis
    duplicate_of: int | None = None
    cut_on: Literal["time", "beat", "nothing"] = "nothing"
    pieces: list[Piece] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)
    warnings: list[str] = field(default_factory=list)

    def known(self, tags: str = "") -> Known:
        return Known(self.source.shown, self.metadata, self.analysis.record(), tags)


def listen(source: Source, metadata: dict[str, Any]) -> Song:
    """Decode a source from end to end. Raises BadAudio."""
    told = said(metadata, source.shown)
    analysis = analyse(source.path, BEATS[told.time_signature or "4"], told.bpm)
    return Song(source, metadata, analysis, warnings=list(told.warnings))


def cut(song: Song, folder: Path, first: int, rate: int, channels: int, segment_on: SegmentOn) -> Song:
    """The song with its segments, written as `seg_<first>.wav` and on; cut on time where its bars are not known."""
    folder.mkdir(parents=True, exist_ok=True)
    bars = song.analysis.bars if segment_on == "beat" else None
    song.cut_on = "beat" if bars else "time"
    grid = bar_grid(bars.first, bars.seconds) if bars else Grid()
    for segment in segments(song.source.path, rate, channels, grid, song.analysis.flaws):
        if segment.samples is None:
            song.dropped[segment.dropped or ""] += 1
            continue
        path = folder / f"seg_{first + len(song.pieces):04d}.wav"
        write_wav(path, segment.samples, rate)
        song.pieces.append(Piece(path, path, song.source.index, segment.start, segment.seconds))
    return song


def keep_whole(song: Song, workdir: Path) -> Song:
    """The song with one piece: its source as it is, or without its flaws if it has any. The tagger gets its first
    audible segment."""
    seconds = song.analysis.levels.seconds
    if seconds < SHORTEST:
        song.dropped["short"] += 1
        return song
    flaws = song.analysis.flaws
    cut = segments(song.source.path, flaws=flaws)
    audible = next((each.samples for each in cut if each.samples is not None), None)
    if audible is None:
        song.dropped["silent"] += 1
        return song
    excerpt = workdir / "excerpts" / f"{song.source.index:04d}.wav"
    excerpt.parent.mkdir(exist_ok=True)
    write_wav(excerpt, audible, CONTRACT_RATE)
    path = _mended(song, workdir / "mended") if flaws else song.source.path
    song.pieces.append(Piece(path, excerpt, song.source.index, 0.0, seconds))
    return song


def _mended(song: Song, folder: Path) -> Path:
    """The song without its flaws, as a WAV file of floats at its own rate."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{song.source.index:04d}.wav"
    flaws, info = song.analysis.flaws, song.source.info
    channels = info.channels if flaws.channel is None else 1
    with soundfile.SoundFile(path, "w", info.sample_rate, channels, "FLOAT") as file:
        for block in blocks(song.source.path):
            file.write(flaws.mend(block))
    return path
