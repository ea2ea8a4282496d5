"""Tracks that are sent while they are made, through the HTTP interface."""

from __future__ import annotations

import io
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile

from tests.api import CHANNELS, PATIENCE, RATES, Api, Json, Samples, both_backends, decoded, error_of
from tests.sounds import MAX_ROUNDING

BODY: Json = {"prompt": "dark trap", "seed": 7, "stream": True}
# ACE-Step decodes ten seconds at a time.
SECONDS = {"ace_step": 12.3, "musicgen": 3.3}
MINUTES: Json = BODY | {"backend_override": "musicgen", "duration_seconds": 300}


def streamed(api: Api, accept: str = "audio/wav", **fields: Any) -> tuple[httpx.Headers, list[bytes]]:
    """The headers and the chunks of a stream."""
    with api.client.stream("POST", "/generate", json=BODY | fields, headers={"accept": accept}) as answer:
        assert answer.status_code == 200, answer.read()
        return answer.headers, list(answer.iter_raw())


def whole(api: Api, **fields: Any) -> Samples:
    """The same track, not streamed."""
    body = BODY | fields | {"stream": False}
    return decoded(api.client.post("/generate", json=body, headers={"accept": "audio/wav"}).content)[0]


@both_backends
@pytest.mark.parametrize(
    ("accept", "depth", "subtype"),
    [
        ("audio/wav", None, "PCM_16"),
        ("audio/wav", 24, "PCM_24"),
        ("audio/wav", "32f", "FLOAT"),
        ("audio/flac", None, "PCM_16"),
        ("audio/flac", 24, "PCM_24"),
    ],
)
def test_what_was_streamed_is_what_is_stored(api: Api, backend: str, accept: str, depth: Any, subtype: str) -> None:
    fields = {"backend_override": backend, "duration_seconds": SECONDS[backend]}
    headers, chunks = streamed(api, accept, **fields, bit_depth=depth)
    file = b"".join(chunks)
    assert len(chunks) > 1
    assert (headers["content-type"], headers["x-backend"], headers["x-seed"]) == (accept, backend, "7")
    assert api.file(headers["x-output-path"]).read_bytes() == file
    record = api.get(f"/tracks/{headers['x-track-id']}")
    assert record["output_path"] == headers["x-output-path"] and "stream" not in record["options"]
    assert len(api.get(f"/tracks/{headers['x-track-id']}/peaks")["peaks"]) == 800
    info = soundfile.info(io.BytesIO(file))
    assert (info.subtype, info.channels, info.samplerate) == (subtype, CHANNELS[backend], RATES[backend])
    assert info.frames == round(SECONDS[backend] * RATES[backend])
    with soundfile.SoundFile(io.BytesIO(file)) as opened:
        assert "seed=7" in opened.comment
        samples = opened.read(always_2d=True)
    peak = 10 ** (-1 / 20)
    assert np.abs(samples).max() <= peak + 2**-14
    # But for the level, and for peaks that are limited, it is the track that is not streamed.
    other = whole(api, **fields)
    quiet = np.abs(other) < 0.2
    assert np.corrcoef(samples[quiet], other[quiet])[0, 1] > 0.95


@both_backends
@pytest.mark.parametrize(("accept", "rate"), [("audio/mpeg", None), ("audio/ogg", 48_000)])
def test_lossy_formats_are_streamed_too(api: Api, backend: str, accept: str, rate: int | None) -> None:
    fields = {"backend_override": backend, "duration_seconds": SECONDS[backend]}
    headers, chunks = streamed(api, accept, **fields)
    file = b"".join(chunks)
    assert headers["content-type"] == accept and len(chunks) > 1
    assert api.file(headers["x-output-path"]).read_bytes() == file
    samples, found = decoded(file)
    assert found == (rate or RATES[backend])
    assert len(samples) / found == pytest.approx(SECONDS[backend], abs=0.1)


def test_the_first_chunk_comes_while_the_track_is_made(api: Api) -> None:
    name = str(uuid.uuid4())
    headers = {"accept": "audio/wav", "x-request-id": name}
    body = BODY | {"backend_override": "musicgen", "duration_seconds": 20}
    with api.client.stream("POST", "/generate", json=body, headers=headers) as answer:
        chunks = answer.iter_raw()
        first = next(chunks)
        position = api.get(f"/queue/{name}")
        assert position["state"] == "making" and position["progress"] < 0.5, position
        assert api.client.get(f"/tracks/{answer.headers['x-track-id']}").status_code == 404
        file = first + b"".join(chunks)
        assert api.file(answer.headers["x-output-path"]).read_bytes() == file
    assert len(decoded(file)[0]) == 20 * RATES["musicgen"]


def test_a_client_that_goes_away_frees_its_row(api: Api) -> None:
    name, before = str(uuid.uuid4()), api.stored()
    headers = {"accept": "audio/wav", "x-request-id": name}
    runner = api.process("MusicGenRunner")
    with api.client.stream("POST", "/generate", json=MINUTES, headers=headers) as answer:
        next(answer.iter_raw())
    end, progress = time.monotonic() + PATIENCE, 0.0
    while (position := api.client.get(f"/queue/{name}")).status_code != 404:
        progress = position.json()["progress"] or progress
        assert progress < 0.5, "its row goes on though nobody listens"
        time.sleep(0.1)
    while (used := sum(runner.cpu_times()[:2])) is not None:
        time.sleep(1)
        if sum(runner.cpu_times()[:2]) - used < 0.1:
            break
        assert time.monotonic() < end, "the runner works though nobody listens"
    assert api.stored() == before


@both_backends
def test_rows_share_a_batch_whether_they_are_streamed_or_not(api: Api, backend: str) -> None:
    def one(number: int) -> Samples:
        fields: Json = {"backend_override": backend, "seed": number, "duration_seconds": 3 + number % 3}
        if number % 2:
            return decoded(b"".join(streamed(api, **fields)[1]))[0]
        return whole(api, **fields)

    alone = [one(number) for number in range(5)]
    with ThreadPoolExecutor(5) as pool:
        together = list(pool.map(one, range(5)))
    for a, b in zip(alone, together, strict=True):
        assert np.abs(a - b).max() <= MAX_ROUNDING


@pytest.mark.parametrize(
    ("fields", "accept", "named"),
    [
        ({}, "application/json", "stream"),
        ({"response": "url"}, "audio/wav", "stream"),
        ({"output_format": "m4a"}, "audio/wav", "stream"),
        ({}, "audio/mp4", "stream"),
        ({"loudness": -14}, "audio/wav", "loudness"),
        ({"loop": True, "bpm": 120}, "audio/wav", "loop"),
        ({"takes": 2}, "audio/wav", "takes"),
        ({"best_of": 2, "rank": "key", "key": "A minor"}, "audio/wav", "best_of"),
        ({"figures": True}, "audio/wav", "figures"),
        ({"accept": {"key": True}, "key": "A minor"}, "audio/wav", "accept"),
        ({"duration_seconds": 1e9}, "audio/wav", "duration_seconds"),
    ],
)
def test_bad_input_is_named(api: Api, fields: Json, accept: str, named: str) -> None:
    answer = api.client.post("/generate", json=BODY | fields, headers={"accept": accept})
    assert error_of(answer, 400).startswith(f"{named}: ")
