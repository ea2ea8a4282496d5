"""The report's section on the music, written before the first step: the files, and the warnings about them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from preprocessing.dataset import Dataset
from training.evaluation.held_out import MIN_SONGS
from training.evaluation.ratings import MIN_SECONDS
from training.evaluation.song_rows import song_rows

# A song is reported as clipped if more than this share of its samples is at full scale.
_MAX_CLIPPED_SHARE = 1e-4
_MAX_SILENT_SHARE = 0.3
_MAX_LISTED_NAMES = 5


def data_section(dataset: Dataset, held_out: set[int], noise: Sequence[bool]) -> dict[str, Any]:
    """The section: how much music there is, each song, which songs are held out, and warnings in sentences.

    Args:
        held_out: indices of the held-out songs.
        noise: whether each of the clips that were looked at is noise.
    """
    files = dataset.record["files"]
    rows = song_rows(dataset, held_out)
    used = sorted({clip.song for clip in dataset.clips})
    seconds = sum(clip.seconds for clip in dataset.clips if clip.song not in held_out)
    warnings = _song_warnings(files, rows)
    if seconds < MIN_SECONDS:
        warnings.append(f"{seconds:.0f} seconds are too little to learn from; send some minutes")
    if sum(noise) > len(noise) / 2:
        warnings.append("most of it is noise without tones or rhythm")
    if len(used) < MIN_SONGS:
        warnings.append(
            f"with fewer than {MIN_SONGS} songs none is held out, so nothing shows whether the twin learned a style"
        )
    return {
        "songs": len(used),
        "segments": len(dataset.clips),
        "seconds": round(sum(clip.seconds for clip in dataset.clips), 1),
        "trained_seconds": round(seconds, 1),
        "set_aside": [files[song]["source"] for song in sorted(held_out)],
        "by_song": rows,
        "warnings": warnings,
    }


def _song_warnings(files: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The warnings about songs. One that several songs share is one sentence that begins with their names."""
    songs: dict[str, list[str]] = {}
    for file, row in zip(files, rows, strict=True):
        for warning in [*file.get("warnings", []), *_measured_warnings(file, row)]:
            songs.setdefault(warning, []).append(row["name"])
    return [f"{_listed(names)}: {warning}" for warning, names in songs.items()]


def _measured_warnings(file: Mapping[str, Any], row: Mapping[str, Any]) -> Iterator[str]:
    analysis, length = file.get("analysis", {}), max(file["seconds"], 1e-9)
    clipped = analysis.get("clipped") or 0
    if clipped > _MAX_CLIPPED_SHARE * length * file["sample_rate"]:
        yield (
            f"it is clipped ({clipped} samples at full scale): the twin will learn the distortion; "
            "send a version with headroom"
        )
    if (analysis.get("silent") or 0) > _MAX_SILENT_SHARE * length:
        yield f"it is silent for {analysis['silent']:.0f} of its {length:.0f} seconds"
    if row["duplicate_of"] is not None:
        yield f"it is the same as {row['duplicate_of']} and was left out"
    elif not row["segments"]:
        yield "there is nothing to learn from: it is too short or silent"


def _listed(names: Sequence[str]) -> str:
    if len(names) > _MAX_LISTED_NAMES:
        return f"{', '.join(names[:_MAX_LISTED_NAMES])} and {len(names) - _MAX_LISTED_NAMES} more"
    return " and ".join([*([", ".join(names[:-1])] if len(names) > 1 else []), names[-1]])
