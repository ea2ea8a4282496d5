"""Songs: a source file analysed, and cut into the pieces that are trained on."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import soundfile

from contract import SegmentOn
from core.notation import BEATS_PER_BAR
from models.traits import Traits
from preprocessing.analysis import Analysis, analyse
from preprocessing.captions import Caption, ClipInfo, Tags, stated_kinds
from preprocessing.decode import blocks
from preprocessing.embedded_tags import EmbeddedTags
from preprocessing.levels import LevelMeter, true_peak
from preprocessing.metadata import parse_metadata
from preprocessing.record import TrainingLevel
from preprocessing.segment import CONTRACT_RATE, MIN_SECONDS, bar_grid, segments, write_wav
from preprocessing.sources import Source
from preprocessing.tagger.words import SILENT, Description


@dataclass
class Piece:
    """A file to train on.

    Attributes:
        excerpt: what the tagger is sent, a WAV file of 15 s or less; `path` itself where that is one.
        song: index of the source that it was cut from.
        start: seconds from the song's beginning.
        gain: what training adds to the file's level, in dB, so that all pieces of the song have the same gain over it.
        heard: by the local tagger.
        tags: from Gemini.
    """

    path: Path
    excerpt: Path
    song: int
    start: float
    seconds: float
    gain: float = 0.0
    heard: Description = SILENT
    tags: Tags | None = None
    caption: Caption | None = None


@dataclass
class Song:
    """A source file, its analysis, and the pieces that were cut from it.

    Attributes:
        metadata: the client's, for this file.
        embedded: the tags inside the file.
        duplicate_of: index of the song that this one repeats.
        cut_on: what its pieces were cut on; "nothing" for a whole file and for a duplicate.
        training_level: None for a whole file, which is trained on as it is, and for one that is nearly silent.
        dropped: number of segments left out, by reason.
        warnings: one sentence for each problem in the metadata or the name.
    """

    source: Source
    metadata: dict[str, Any]
    embedded: EmbeddedTags
    analysis: Analysis
    duplicate_of: int | None = None
    cut_on: Literal["time", "beat", "nothing"] = "nothing"
    pieces: list[Piece] = field(default_factory=list)
    training_level: TrainingLevel | None = None
    dropped: Counter[str] = field(default_factory=Counter)
    warnings: list[str] = field(default_factory=list)

    def clip_info(self, piece: Piece) -> ClipInfo:
        """The metadata, tags and analysis of one of its pieces."""
        line, source = self.line(piece)
        return ClipInfo(
            self.source.display_name,
            self.metadata,
            self.analysis.record(),
            line,
            source,
            asdict(self.embedded),
            piece.heard.vocal,
        )

    def line(self, piece: Piece) -> tuple[str, Literal["gemini", "tagger"]]:
        """The line in the text file beside a piece, and where it is from.

        It is Gemini's; where Gemini said nothing, what was heard, less the kinds of words that the client or the file's
        tags state.
        """
        if piece.tags:
            return piece.tags.line(), "gemini"
        stated = stated_kinds(self.metadata, asdict(self.embedded))
        return ", ".join(word.text for word in piece.heard.words if word.kind not in stated), "tagger"

    def is_known(self) -> bool:
        """Whether its genre or its instruments are stated or heard, in any piece."""
        if stated_kinds(self.metadata, asdict(self.embedded)) & {"caption", "genre", "instrument"}:
            return True
        heard = {word.kind for piece in self.pieces for word in piece.heard.words}
        return bool(heard & {"genre", "instrument"}) or any(piece.tags for piece in self.pieces)


def training_gain(loudness: float, true_peak: float, traits: Traits) -> float:
    """The gain in dB at which a checkpoint with these traits is trained on a song of this level, in LUFS and dBTP."""
    return round(min(traits.loudness - loudness, traits.max_true_peak - true_peak), 2)


def analyse_source(source: Source, metadata: dict[str, Any], embedded: EmbeddedTags) -> Song:
    """Decode and analyse a source from end to end. Raises BadAudio."""
    parsed = parse_metadata(metadata, source.display_name)
    bpm = embedded.bpm if parsed.bpm is None and "bpm" not in parsed.unreadable else parsed.bpm
    analysis = analyse(source.path, BEATS_PER_BAR[parsed.time_signature or "4"], bpm)
    return Song(source, metadata, embedded, analysis, warnings=list(parsed.warnings))


def cut(
    song: Song, folder: Path, first: int, rate: int, channels: int, segment_on: SegmentOn | None, traits: Traits
) -> Song:
    """The song with its segments, written as `seg_<first>.wav` and on.

    It is cut on time if its bars are unknown, or if it is too short for one segment of whole bars.

    Args:
        segment_on: by default on bars for a model that keeps a clock, else on time.
    """
    folder.mkdir(parents=True, exist_ok=True)
    on_beat = traits.clock if segment_on is None else segment_on == "beat"
    bars = song.analysis.bars if on_beat else None
    grid = bar_grid(bars.first, bars.seconds) if bars else None
    if grid and grid.first + grid.seconds > song.analysis.levels.seconds:
        grid = None
    song.cut_on = "beat" if grid else "time"
    meter, peak, gains = LevelMeter(rate, channels), -math.inf, list[float]()
    for segment in segments(song.source.path, rate, channels, grid, song.analysis.flaws):
        if segment.samples is None:
            song.dropped[segment.dropped or ""] += 1
            continue
        path = folder / f"seg_{first + len(song.pieces):04d}.wav"
        write_wav(path, segment.samples, rate)
        song.pieces.append(Piece(path, path, song.source.index, segment.start, segment.seconds))
        gains.append(segment.gain)
        meter.add(segment.samples * np.float32(10 ** (-segment.gain / 20)))
        peak = max(peak, true_peak(segment.samples, rate) - segment.gain)
    loudness = meter.levels().loudness
    if loudness is not None:
        peak = round(peak, 2)
        gain = training_gain(loudness, peak, traits)
        song.training_level = TrainingLevel(loudness, peak, gain)
        for piece, own in zip(song.pieces, gains, strict=True):
            piece.gain = round(gain - own, 2)
    return song


def keep_whole(song: Song, workdir: Path) -> Song:
    """The song with one piece: its source as it is, or repaired if it has flaws.

    The tagger is sent its first audible segment.
    """
    seconds = song.analysis.levels.seconds
    if seconds < MIN_SECONDS:
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
    path = _repaired(song, workdir / "repaired") if flaws else song.source.path
    song.pieces.append(Piece(path, excerpt, song.source.index, 0.0, seconds))
    return song


def _repaired(song: Song, folder: Path) -> Path:
    """The song with its flaws repaired, as a float WAV file at its own rate."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{song.source.index:04d}.wav"
    flaws, info = song.analysis.flaws, song.source.info
    channels = info.channels if flaws.only_channel is None else 1
    with soundfile.SoundFile(path, "w", info.sample_rate, channels, "FLOAT") as file:
        for block in blocks(song.source.path):
            file.write(flaws.repair(block))
    return path
