"""The report's section on the music, written before the first step: the files, and the warnings about them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from preprocessing.dataset import Dataset
from training.evaluation.held_out import MIN_SONGS
from training.evaluation.verdict import MIN_SECONDS

# A song is reported as clipped if more than this share of its samples is at full scale.
_MAX_CLIPPED_SHARE = 1e-4
_MAX_SILENT_SHARE = 0.3


def data_section(dataset: Dataset, held_out: set[int], noise: Sequence[bool]) -> dict[str, Any]:
    """The section: how much music there is, which songs are held out, and warnings in sentences.

    Args:
        held_out: indices of the held-out songs.
        noise: whether each of the clips that were looked at is noise.
    """
    files = dataset.record["files"]
    used = sorted({clip.song for clip in dataset.clips})
    seconds = sum(clip.seconds for clip in dataset.clips if clip.song not in held_out)
    warnings = []
    for number, file in enumerate(files):
        analysis, length = file.get("analysis", {}), max(file["seconds"], 1e-9)
        warnings += [f"{file['source']}: {warning}" for warning in file.get("warnings", [])]
        clipped = analysis.get("clipped") or 0
        if clipped > _MAX_CLIPPED_SHARE * length * file["sample_rate"]:
            warnings.append(
                f"{file['source']} is clipped ({clipped} samples at full scale): the twin will learn the distortion; "
                "send a version with headroom"
            )
        if (analysis.get("silent") or 0) > _MAX_SILENT_SHARE * length:
            warnings.append(f"{file['source']} is silent for {analysis['silent']:.0f} of its {length:.0f} seconds")
        if number not in used and file.get("duplicate_of") is None:
            warnings.append(f"{file['source']} has nothing to learn from: it is too short or silent")
        if file.get("duplicate_of") is not None:
            warnings.append(f"{file['source']} is the same as {files[file['duplicate_of']]['source']} and was left out")
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
        "warnings": warnings,
    }
