"""The steps and the length of a training, estimated before it starts. It reads headers of files and decodes nothing."""

from __future__ import annotations

import time

from contract import TrainRequest
from core.sandbox import Exceeded
from preprocessing.containers.base import BadAudio
from preprocessing.dataset import stored
from preprocessing.decode import probe
from preprocessing.isolation import CHECK, DECODING
from runners import Backend
from storage import Storage, keys
from training.base import steps_for
from training.evaluation.held_out import choose_held_out

# Reading the headers ends after this time, as the client waits.
_MAX_SECONDS = 3.0


def estimated_steps(request: TrainRequest, backend: Backend, storage: Storage) -> int | None:
    """The optimiser steps of a training; None if the length of its music is not known yet.

    That of downloads is not known, nor that of files in a bucket, which would have to be fetched.

    Raises:
        Refusal: the request names a dataset that is gone.
    """
    if request.max_steps is not None:
        return request.max_steps
    songs = _songs(request, storage) if backend.training_steps_per_second else None
    if not songs:
        return None
    held_out = choose_held_out(songs)
    return steps_for(sum(seconds for index, _, seconds in songs if index not in held_out), backend.name)


def _songs(request: TrainRequest, storage: Storage) -> list[tuple[int, str, float]] | None:
    """Each song's index, digest and seconds, as far as they are known before the songs are decoded."""
    if record := stored(request, storage):
        lengths: dict[int, float] = {}
        for segment in record["segments"]:
            lengths[segment["file"]] = lengths.get(segment["file"], 0.0) + segment["seconds"]
        return [(index, record["files"][index]["sha256"], seconds) for index, seconds in lengths.items()]
    if not request.upload_paths:
        return None
    end = time.monotonic() + _MAX_SECONDS
    songs: dict[str, float] = {}
    for path in request.upload_paths:
        key = keys.from_path(path)
        file, entry = storage.local(key), storage.stat(key)
        if file is None or entry is None or time.monotonic() > end:
            return None
        try:
            songs[entry.sha256 or key] = DECODING.call(CHECK, probe, file).seconds
        except (BadAudio, Exceeded):
            return None
    return [(index, digest, seconds) for index, (digest, seconds) in enumerate(songs.items())]
