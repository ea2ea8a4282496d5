"""How often the local tagger's words for a segment are right, and how long analysis and tagger take.

The music is real and not part of this repository: Debian's packages that recipes/SOURCES.md names. `labels.json` has
the words that would be right for the middle segment of each song, by file.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections import defaultdict
from itertools import islice
from pathlib import Path

import torch

from preprocessing.analysis import analyse
from preprocessing.segment import CONTRACT_RATE, segments, write_wav
from preprocessing.tagger.listen import describe
from preprocessing.tagger.words import Description

LABELS = Path(__file__).with_name("labels.json")
MAX_SEGMENTS = 12  # of a song
TIMED_SONGS = 4


def captions(folder: str) -> None:
    """Describe the middle segment of each labelled song in `folder`, which has one folder a package."""
    torch.set_num_threads(1)
    labels: dict[str, str] = json.loads(LABELS.read_text())
    right: dict[str, list[bool]] = defaultdict(list)
    for name, words in labels.items():
        found = _described(Path(folder) / name)
        right[name.partition("/")[0]].append(_is_right(found, set(words.split(", "))))
        print(f"{'+' if right[name.partition('/')[0]][-1] else '-'} {name}: {', '.join(w.text for w in found.words)}")
    for package, each in right.items():
        print(f"{package}: {sum(each)} of {len(each)}")
    everything = [one for each in right.values() for one in each]
    print(f"all: {sum(everything)} of {len(everything)}, {sum(everything) / len(everything):.2f}")


def captions_speed(folder: str) -> None:
    """Seconds of one core for a minute of music."""
    torch.set_num_threads(1)
    paths = [Path(folder) / name for name in list(json.loads(LABELS.read_text()))[:: 60 // TIMED_SONGS]]
    _described(paths[0])
    analyse(paths[0])
    seconds = analysed = tagged = 0.0
    for path in paths:
        start = time.process_time()
        seconds += analyse(path).levels.seconds
        analysed += time.process_time() - start
        start = time.process_time()
        _described(path, 10_000)
        tagged += time.process_time() - start
    print(f"{60 * analysed / seconds:.2f} s to analyse, {60 * tagged / seconds:.2f} s to cut and tag a minute of music")


def _described(path: Path, most: int = MAX_SEGMENTS) -> Description:
    with tempfile.TemporaryDirectory() as folder:
        paths: list[Path] = []
        for segment in islice(segments(path), most):
            if segment.samples is not None:
                paths.append(Path(folder) / f"{len(paths)}.wav")
                write_wav(paths[-1], segment.samples, CONTRACT_RATE)
        return describe(paths)[len(paths) // 2]


def _is_right(found: Description, right: set[str]) -> bool:
    """Whether a genre or an instrument is right and no genre is wrong."""
    named = {word.text for word in found.words if word.kind in ("genre", "instrument") or word.text == "choir"}
    genres = {word.text for word in found.words if word.kind == "genre"}
    return bool(named & right) and genres <= right
