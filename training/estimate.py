"""The steps and the length of a training, estimated before it starts. It reads headers of files and decodes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from contract import TrainRequest
from core.sandbox import Exceeded
from preprocessing.containers.base import BadAudio
from preprocessing.record import stored
from runners import Backend
from storage import Storage, keys
from training.base import steps_for
from training.evaluation.held_out import choose_held_out

# The estimate is given up after this time, as the client waits.
_MAX_SECONDS = 3.0

# Reads the seconds of music in a file. Raises BadAudio or Exceeded.
LengthOf = Callable[[Path], Awaitable[float]]


async def estimated_steps(request: TrainRequest, backend: Backend, storage: Storage, length_of: LengthOf) -> int | None:
    """The optimiser steps of a training; None if the length of its music is not known yet.

    That of downloads is not known, nor that of files in a bucket, which would have to be fetched.

    Raises:
        Refusal: the request names a dataset that is gone.
    """
    if request.max_steps is not None:
        return request.max_steps
    if not backend.training_steps_per_second:
        return None
    try:
        async with asyncio.timeout(_MAX_SECONDS):
            songs = await _songs(request, storage, length_of)
    except (TimeoutError, BadAudio, Exceeded):
        return None
    if not songs:
        return None
    held_out = choose_held_out(songs)
    return steps_for(sum(seconds for index, _, seconds in songs if index not in held_out), backend.name)


async def _songs(request: TrainRequest, storage: Storage, length_of: LengthOf) -> list[tuple[int, str, float]] | None:
    """Each song's index, digest and seconds, as far as they are known before the songs are decoded."""
    if record := await asyncio.to_thread(stored, request, storage):
        lengths: dict[int, float] = {}
        for segment in record["segments"]:
            lengths[segment["file"]] = lengths.get(segment["file"], 0.0) + segment["seconds"]
        return [(index, record["files"][index]["sha256"], seconds) for index, seconds in lengths.items()]
    files = await asyncio.to_thread(_local_files, request, storage)
    if files is None:
        return None
    return [(index, digest, await length_of(file)) for index, (digest, file) in enumerate(files.items())]


def _local_files(request: TrainRequest, storage: Storage) -> dict[str, Path] | None:
    """The different uploads by digest; None if one of the songs is no file on this machine."""
    if not request.upload_paths:
        return None
    files = {}
    for path in request.upload_paths:
        key = keys.from_path(path)
        file, entry = storage.local(key), storage.stat(key)
        if file is None or entry is None:
            return None
        files[entry.sha256 or key] = file
    return files
