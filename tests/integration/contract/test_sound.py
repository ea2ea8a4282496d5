"""The sound of a track depends on seed, twin and fields, and not on the other rows of its batch."""

from __future__ import annotations

import base64
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tests.api import Api, Json, both_backends, decoded
from tests.conftest import Twin


@both_backends
def test_a_seed_repeats_a_track_and_another_does_not(api: Api, backend: str) -> None:
    first = api.generate(backend_override=backend)
    assert np.array_equal(first, api.generate(backend_override=backend))
    assert not np.array_equal(first, api.generate(backend_override=backend, seed=8))


def test_a_seed_that_was_drawn_repeats_its_track(api: Api) -> None:
    body = {"prompt": "dark trap", "duration_seconds": 1}
    drawn, other = api.post("/generate", **body), api.post("/generate", **body)
    assert drawn["seed"] != other["seed"]
    again = api.post("/generate", **body, seed=drawn["seed"])
    first, second, third = (decoded(base64.b64decode(made["audio_base64"]))[0] for made in (drawn, other, again))
    assert np.array_equal(first, third)
    assert not np.array_equal(first, second)


@both_backends
def test_a_twin_sounds_unlike_the_base_model(api: Api, twins: dict[str, Twin], backend: str) -> None:
    twin = twins[backend].lora_id
    base = api.generate(backend_override=backend)
    # The backend of a twin need not be named.
    with_twin = api.generate(lora_id=twin)
    assert np.array_equal(with_twin, api.generate(lora_id=twin, backend_override=backend))
    assert with_twin.shape == base.shape and not np.array_equal(with_twin, base)
    assert np.array_equal(api.generate(lora_id=twin, lora_scale=0), base)
    assert not np.array_equal(api.generate(lora_id=twin, lora_scale=0.5), with_twin)
    made = api.post("/generate", prompt="x", duration_seconds=1, lora_id=twin)
    assert made["backend"] == backend and made["output_path"].startswith("/data/outputs/twins/studio/")


@both_backends
def test_a_track_is_the_same_alone_or_among_others(api: Api, twins: dict[str, Twin], backend: str) -> None:
    twin = twins[backend].lora_id
    requests: list[Json] = [
        {"prompt": "dark trap", "duration_seconds": 2, "seed": 1, "lora_id": twin},
        {"prompt": "a long and slow piano piece", "duration_seconds": 4, "seed": 2, "backend_override": backend},
        {"prompt": "house", "duration_seconds": 3, "seed": 3, "lora_id": twin, "lora_scale": 1.5},
        {"prompt": "lo-fi", "duration_seconds": 1, "seed": 4, "backend_override": backend},
    ]
    alone = [api.generate(**request) for request in requests]
    with ThreadPoolExecutor(len(requests)) as pool:
        together = list(pool.map(lambda request: api.generate(**request), requests))
    for one, other in zip(alone, together, strict=True):
        assert one.shape == other.shape
        assert np.abs(one - other).max() <= 1.01 / 32768


WORDS = {"lyrics": "[verse]\nwe ride at night", "bpm": 90, "key": "F# minor", "time_signature": "3"}


@both_backends
@pytest.mark.parametrize("field", WORDS)
def test_what_is_said_beside_the_prompt_is_heard(api: Api, backend: str, field: str) -> None:
    plain = api.generate(backend_override=backend, duration_seconds=1)
    said = api.generate(backend_override=backend, duration_seconds=1, **{field: WORDS[field]})
    assert not np.array_equal(plain, said)
