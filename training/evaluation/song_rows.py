"""The report's rows of songs: each song's name, tempo, key and caption, and where each of them is from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from preprocessing.dataset import Clip, Dataset
from training.evaluation.song_names import song_names

_MAX_WORDS = 12


def song_rows(dataset: Dataset, held_out: set[int]) -> list[dict[str, Any]]:
    """The rows, in the order of the record's files.

    Args:
        held_out: indices of the held-out songs.
    """
    files = dataset.record["files"]
    names = song_names(files)
    clips: dict[int, list[Clip]] = {}
    for clip in dataset.clips:
        clips.setdefault(clip.song, []).append(clip)
    rows = []
    for number, (file, name) in enumerate(zip(files, names, strict=True)):
        original = file.get("duplicate_of")
        rows.append(
            {
                "song": number,
                "name": name,
                "held_out": number in held_out,
                "seconds": file["seconds"],
                "segments": len(clips.get(number, [])),
                "duplicate_of": None if original is None else names[original],
                "tempo": _measured("bpm", file, clips.get(number, [])),
                "key": _measured("key", file, clips.get(number, [])),
                "words": _words(clips.get(number, [])),
            }
        )
    return rows


def _measured(field: str, file: Mapping[str, Any], clips: Sequence[Clip]) -> dict[str, Any] | None:
    """Tempo or key: that of the captions with its source, else the estimate without one, as it was not used.

    It was too uncertain, or the client stated a value that could not be read.
    """
    analysis = file.get("analysis") or {}
    used = next((value for clip in clips if (value := getattr(clip.caption, field)) is not None), None)
    source = next((source for clip in clips if (source := clip.caption.sources.get(field))), None)
    value = analysis.get(field) if used is None or source == "analysis" else used
    if value is None:
        return None
    return {
        "value": value,
        "source": source if used is not None else None,
        "confidence": analysis.get(f"{field}_confidence") if source in (None, "analysis") else None,
        "alternative": analysis.get(f"{field}_alternative") if source in (None, "analysis") else None,
    }


def _words(clips: Sequence[Clip]) -> list[dict[str, Any]]:
    """The phrases of the captions, the most frequent first, with the number of segments that have them."""
    counted = Counter((text, source) for clip in clips for text, source in clip.caption.sources.get("text", {}).items())
    return [
        {"text": text, "source": source, "segments": count} for (text, source), count in counted.most_common(_MAX_WORDS)
    ]
