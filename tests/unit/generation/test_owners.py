"""Whose a track is that comes from a producer's recording."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adapters.library import Library
from contract import GenerateRequest
from core.settings import Settings
from generation.outbox import Outbox
from generation.pipeline import Generation
from runners.clients import Runners
from runners.messages import RunnerState, TrackAnswer, TrackRequest
from storage import Storage, keys
from tests.sounds import chord, written

UPLOAD = keys.upload("ada", "takes", "a.wav")


class Silence:
    """Stands in for BentoML's client of a runner."""

    @property
    def to_async(self) -> Silence:
        return self

    async def describe(self) -> RunnerState:
        return RunnerState(
            ready=True,
            reason=None,
            checkpoint="silence",
            sample_rate=48_000,
            channels=2,
            tasks=["text", "cover"],
            takes_reference=True,
        )

    async def generate(self, request: TrackRequest) -> TrackAnswer:
        pcm = np.zeros((round(request.seconds * 48_000), 2), np.int16).tobytes()
        return TrackAnswer(pcm=pcm, sample_rate=48_000, channels=2)


@pytest.mark.parametrize(
    ("body", "folder"),
    [
        ({}, "outputs/base/"),
        ({"task": "cover", "source": keys.to_path(UPLOAD)}, "outputs/twins/ada/"),
        ({"reference": keys.to_path(UPLOAD)}, "outputs/twins/ada/"),
        ({"reference": "producer:ada"}, "outputs/twins/ada/"),
    ],
)
def test_what_comes_from_a_producers_recording_is_the_producers(
    body: dict[str, Any], folder: str, store: Storage, tmp_path: Path
) -> None:
    store.put(UPLOAD, written(chord(0.5)))
    settings = Settings()
    runners = Runners({"ace_step": Silence()}, settings)
    generation = Generation(runners, Library(store), Outbox(store, "owners", tmp_path / "outbox"), settings)
    length = {} if "task" in body else {"duration_seconds": 0.5}
    request = GenerateRequest.model_validate({"prompt": "x", "backend_override": "ace_step"} | length | body)
    track = asyncio.run(generation.generate(request, as_base64=False))
    assert track.key.startswith(folder) and [entry.key for entry in store.list("outputs/")] == [track.key]
