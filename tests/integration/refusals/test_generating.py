"""Requests of tracks that are refused."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adapters.library import Library
from contract import GenerateRequest
from core.errors import Refusal
from core.settings import Settings
from generation.outbox import Outbox
from generation.pipeline import Generation
from runners.clients import Runners
from runners.messages import RunnerState, TrackAnswer, TrackRequest
from storage import open_storage
from tests.api import Api
from tests.conftest import Twin
from tests.integration.refusals.cases import GENERATE, ID_64, Case, assert_refused, cases


def generate(name: str, *names: str, status: int = 400, without: str = "", **changes: Any) -> Case:
    body = {key: value for key, value in (GENERATE | changes).items() if key != without}
    return Case(name, "/generate", status, names, body)


BAD_SECONDS: list[Any] = [0, -1, 600.5, 1e308, float("nan"), float("inf"), float("-inf"), "long", [60], {}]
BAD_TEMPOS: list[Any] = [29, 301, "fast", True, "70/140", {}]
BAD_LORAS = {
    *("", "studio", ":", "studio:", ":twin", "a:b:c", "a/b:c", "../a:b", ".a:b", "a:.b", "a b:c", "ä:b"),
    *(f"{ID_64}i:b", "a:b\n"),
}


@cases(
    generate("no prompt", "prompt", without="prompt"),
    generate("null for a prompt", "prompt", prompt=None),
    generate("an empty prompt", "prompt", prompt=""),
    generate("a blank prompt", "prompt", prompt=" \n\t"),
    generate("a number for a prompt", "prompt", prompt=5),
    generate("an endless prompt", "prompt", prompt="x" * 2001),
    generate("an unknown field", "mood", mood="dark"),
    *(generate(f"{seconds} seconds", "duration_seconds", duration_seconds=seconds) for seconds in BAD_SECONDS),
    generate("too long for MusicGen", "duration_seconds", duration_seconds=301, backend_override="musicgen"),
    generate("too much for base64", "Accept", status=413, duration_seconds=600),
    *(generate(f"backend {bad!r}", "backend_override", backend_override=bad) for bad in ("jukebox", "ACE_STEP", 5)),
    *(generate(f"twin {bad!r}", "lora_id", lora_id=bad) for bad in sorted(BAD_LORAS)),
    generate("a number for a twin", "lora_id", lora_id=5),
    generate("a twin that is not there", "lora_id", "no:body", status=404, lora_id="no:body"),
    generate("a model that is not there", "lora_id", "studio:nobody", status=404, lora_id="studio:nobody"),
    generate("a twin in another case", "lora_id", status=404, lora_id="Studio:ace_twin"),
    generate("another backend's", "lora_id", status=409, lora_id="studio:ace_twin", backend_override="musicgen"),
    generate("the other's", "lora_id", status=409, lora_id="studio:music_twin", backend_override="ace_step"),
    *(generate(f"seed {bad!r}", "seed", seed=bad) for bad in (-2, 2**32, 1.5, "x")),
    *(generate(f"scale {bad!r}", "lora_scale", lora_scale=bad) for bad in (-0.1, 2.1, float("nan"), "x")),
    generate("endless lyrics", "lyrics", lyrics="la " * 3000),
    *(generate(f"bpm {bad!r}", "bpm", "such as 140", bpm=bad) for bad in BAD_TEMPOS),
    *(generate(f"key {bad!r}", "key", "A minor", key=bad) for bad in ("H minor", "a", "A dorian", "C/Am", 5)),
    *(generate(f"metre {bad!r}", "time_signature", "4/4", time_signature=bad) for bad in ("5", "12/8", 5, True)),
    *(generate(f"steps {bad!r}", "steps", steps=bad) for bad in (0, 201, 1.5)),
    generate("twins twice", "lora_id, loras", lora_id="a:b", loras=[{"lora_id": "a:c"}]),
    generate("no blend", "loras", loras=[]),
    generate("a blend of nothing", "loras", "0", loras=[{"lora_id": "a:b", "weight": 0}]),
    generate("a twin twice in a blend", "loras", "twice", loras=[{"lora_id": "a:b"}, {"lora_id": "a:b"}]),
    generate("a weight over 1", "loras.0.weight", loras=[{"lora_id": "a:b", "weight": 1.1}]),
    generate("a strange field in a blend", "loras.0.scale", loras=[{"lora_id": "a:b", "scale": 1}]),
    *(generate(f"shift {bad!r}", "shift", shift=bad) for bad in (0, 21, float("nan"))),
    *(generate(f"temperature {bad!r}", "temperature", temperature=bad) for bad in (-1, 6, float("nan"))),
    *(generate(f"guidance {bad!r}", "guidance", guidance=bad) for bad in (-1, 21, float("nan"))),
    *(generate(f"format {bad!r}", "output_format", output_format=bad) for bad in ("aac", "WAV", "", 5)),
)
def test_generating(api: Api, twins: dict[str, Twin], case: Case) -> None:
    assert_refused(api, case)


def test_a_track_too_large_for_base64_is_refused_in_any_format(tmp_path: Path) -> None:
    class Noise:
        """A runner whose music cannot be compressed."""

        @property
        def to_async(self) -> Noise:
            return self

        async def describe(self) -> RunnerState:
            return RunnerState(ready=True, reason=None, checkpoint="noise", sample_rate=48_000, channels=2)

        async def generate(self, request: TrackRequest) -> TrackAnswer:
            size = int(request.seconds * 48_000 * 4)
            return TrackAnswer(pcm=np.random.default_rng(1).bytes(size), sample_rate=48_000, channels=2)

    settings = Settings()
    storage = open_storage(tmp_path.as_uri())
    generation = Generation(
        Runners({"ace_step": Noise()}, settings), Library(storage), Outbox(storage, "x", tmp_path / "outbox"), settings
    )
    request = GenerateRequest(prompt="noise", duration_seconds=200, output_format="flac", backend_override="ace_step")
    with pytest.raises(Refusal, match="duration_seconds") as refused:
        asyncio.run(generation.generate(request, as_base64=True))
    assert refused.value.status == 413
    assert list(storage.list("")) == []
