"""Damaged files through the whole of preprocessing: each must be read or refused, without a crash or a trace."""

from __future__ import annotations

import io
import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import soundfile

from contract import TrainRequest
from core.errors import Refusal
from core.settings import Settings
from preprocessing.containers.base import BadAudio
from preprocessing.dataset import prepare
from preprocessing.decode import check_ends
from storage import open_storage


def _damaged(count: int, seed: int) -> Iterator[bytes]:
    """Noise after each format's magic bytes, valid files with some bytes changed, and truncated valid files."""
    source = random.Random(seed)
    rate = 16_000
    sound = 0.3 * np.sin(np.outer(np.arange(round(3.5 * rate)), [0.05, 0.07]))
    good = []
    for kind in ({"format": "WAV"}, {"format": "FLAC"}, {"format": "OGG"}, {"format": "MP3"}, {"format": "AIFF"}):
        file = io.BytesIO()
        soundfile.write(file, sound, rate, **kind)
        good.append(file.getvalue())
    heads = [
        b"RIFF\xff\xff\xff\x7fWAVEfmt ",
        b"fLaC",
        b"OggS",
        b"\xff\xfb\x90",
        b"\xff\xf1",
        b"\0\0\0\x1cftypM4A ",
        b"",
    ]
    for number in range(count):
        whole = source.choice(good)
        if number % 3 == 0:
            yield source.choice(heads) + source.randbytes(source.randrange(1, 5000))
        elif number % 3 == 1:
            changed = bytearray(whole)
            reach = len(changed) if source.random() < 0.5 else 200  # headers are the most sensitive
            for _ in range(source.randrange(1, 20)):
                changed[source.randrange(reach)] = source.randrange(256)
            yield bytes(changed)
        else:
            yield whole[: source.randrange(len(whole))]


def fuzz(count: int, seed: int) -> None:

    refused = made = 0
    slowest = 0.0
    for data in _damaged(count, seed):
        with suppress(BadAudio):
            check_ends(io.BytesIO(data))
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            store = open_storage((Path(folder) / "store").as_uri())
            store.put("uploads/p/u/a.wav", data)
            request = TrainRequest(producer_id="p", upload_paths=["/data/uploads/p/u/a.wav"])
            try:
                prepare(request, "j", store, Path(folder) / "work", Settings(), native_rate=48_000, native_channels=2)
                made += 1
            except Refusal as error:
                refused += 1
                if error.status != 400 or not error.message.startswith("upload_paths"):
                    raise SystemExit(f"refused wrongly: {error.status} {error.message}") from error
                left = [entry.key for entry in store.list("")]
                if left != ["uploads/p/u/a.wav"]:
                    raise SystemExit(f"refused, but left {left}") from error
        slowest = max(slowest, time.perf_counter() - start)
    print(f"{count} damaged files: {refused} refused by name, {made} usable; the slowest took {slowest:.2f} s")
