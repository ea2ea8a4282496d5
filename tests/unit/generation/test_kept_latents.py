"""The latents beside a stored track: which are found again, and which are not used."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contract import GenerateRequest
from core.errors import Refusal
from core.settings import Settings
from generation.editing import kept_latents
from generation.editing.recordings import Recordings
from generation.outbox import Outbox
from preprocessing.recording import Target
from runners import TABLE
from runners.messages import LatentsMessage, RunnerState
from storage import Storage, Unavailable, keys
from tests.sounds import chord, written

BASE = "1" * 64
TRACK = keys.output("ada", "a", "wav")
SONG = written(chord(1.0), 48_000)
LATENTS = LatentsMessage(values=np.arange(200, dtype="<f4").tobytes(), channels=8, gain=0.3)
TARGET = Target(48_000, 2, 60.0)


@pytest.fixture
def outbox(store: Storage, tmp_path: Path) -> Outbox:
    store.put(TRACK, SONG)
    outbox = Outbox(store, "latents", tmp_path / "outbox")
    kept_latents.store(LATENTS, TRACK, SONG, BASE, outbox)
    return outbox


def test_they_are_found_beside_their_track(outbox: Outbox) -> None:
    assert keys.latents(TRACK) == "outputs/twins/ada/a.safetensors"
    assert kept_latents.find(TRACK, BASE, outbox) == LATENTS
    source = asyncio.run(Recordings(outbox).source(keys.to_path(TRACK), None, TARGET, BASE))
    assert source.audio.latents == LATENTS
    without = asyncio.run(Recordings(outbox).source(keys.to_path(TRACK), None, TARGET))
    assert without.audio.latents is None and without.audio.sha256 != source.audio.sha256
    assert without.audio.flac == source.audio.flac


def _truncate(store: Storage) -> None:
    store.put(keys.latents(TRACK), store.get(keys.latents(TRACK))[:-1])


@pytest.mark.parametrize(
    "change",
    [
        lambda store: store.put(TRACK, written(chord(2.0), 48_000)),
        lambda store: store.delete(TRACK),
        lambda store: store.delete(keys.latents(TRACK)),
        lambda store: store.put(keys.latents(TRACK), b"no safetensors"),
        _truncate,
    ],
    ids=["another track", "no track", "no latents", "no file", "truncated"],
)
def test_those_of_another_file_are_not_used(outbox: Outbox, change: Callable[[Storage], Any]) -> None:
    change(outbox.storage)
    assert kept_latents.find(TRACK, BASE, outbox) is None


def test_those_of_another_checkpoint_are_not_used(outbox: Outbox) -> None:
    assert kept_latents.find(TRACK, "2" * 64, outbox) is None


def test_tracks_that_wait_have_them_too(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    def unavailable(*_: object, **__: object) -> None:
        raise Unavailable(503, "the storage cannot be reached")

    monkeypatch.setattr(outbox.storage, "put", unavailable)
    waiting = keys.output(None, "b", "wav")
    outbox.put(waiting, SONG)
    kept_latents.store(LATENTS, waiting, SONG, BASE, outbox)
    assert kept_latents.find(waiting, BASE, outbox) == LATENTS


def test_a_full_storage_loses_the_latents_alone(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise Unavailable(507, "the storage is full")

    monkeypatch.setattr(outbox.storage, "put", full)
    track = keys.output(None, "b", "wav")
    kept_latents.store(LATENTS, track, SONG, BASE, outbox)
    assert kept_latents.find(track, BASE, outbox) is None


@pytest.mark.parametrize(
    ("asked", "setting", "output_format", "able", "wanted"),
    [
        (None, False, "wav", True, False),
        (None, True, "wav", True, True),
        (None, True, "mp3", True, False),
        (None, True, "wav", False, False),
        (False, True, "wav", True, False),
        (True, False, "flac", True, True),
        (True, False, "opus", True, 400),
        (True, False, "wav", False, 409),
    ],
)
def test_when_they_are_kept(
    asked: bool | None, setting: bool, output_format: str, able: bool, wanted: bool | int
) -> None:
    request = GenerateRequest.model_validate({"prompt": "a", "keep_latents": asked, "output_format": output_format})
    state = RunnerState(ready=True, reason=None, checkpoint="starter", keeps_latents=able)
    backend = next(iter(TABLE))
    settings = Settings(keep_latents=setting)
    if isinstance(wanted, bool):
        assert kept_latents.are_wanted(request, backend, state, settings) is wanted
        return
    with pytest.raises(Refusal, match="keep_latents") as refused:
        kept_latents.are_wanted(request, backend, state, settings)
    assert refused.value.status == wanted
