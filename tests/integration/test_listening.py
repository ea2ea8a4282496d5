"""Listening to a submitted track: while it is made, by several listeners, by permission, and after it is done."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import httpx
import numpy as np
import pytest

from api.auth import keys as api_keys
from storage import open_storage
from tests.api import RATES, Api, Json, Samples, beat, both_backends, checked, decoded, error_of, running, wait_until
from tests.sounds import MAX_ROUNDING

TRACK: Json = {"prompt": "dark trap", "seed": 7, "stream": True}
LIVE_RATE = 48_000
# ACE-Step decodes a second, two, four and so on.
SECONDS = {"ace_step": 12.3, "musicgen": 3.3}
LONG_SECONDS = 150  # a track that is still made after some requests
LONG: Json = TRACK | {"backend_override": "musicgen", "duration_seconds": LONG_SECONDS}


def done(api: Api, track_id: str) -> Json:
    wait_until(lambda: "output_path" in api.get(f"/tracks/{track_id}"))
    return api.get(f"/tracks/{track_id}")


def samples_of(api: Api, path: str) -> Samples:
    return decoded(api.file(path).read_bytes())[0]


@both_backends
def test_what_is_heard_is_the_track_and_the_track_is_as_any_other(api: Api, backend: str) -> None:
    body = TRACK | {"backend_override": backend, "duration_seconds": SECONDS[backend], "loudness": -14}
    track_id = api.post("/generate/submit", **body)["track_id"]
    with api.client.stream("GET", f"/tracks/{track_id}/stream") as answer:
        assert answer.status_code == 200 and answer.headers["content-type"] == "audio/ogg", answer.read()
        assert answer.headers["x-accel-buffering"] == "no"
        chunks = list(answer.iter_raw())
    heard, rate = decoded(b"".join(chunks))
    assert len(chunks) > 1 and rate == LIVE_RATE
    assert len(heard) / rate == pytest.approx(SECONDS[backend], abs=0.1)
    track = done(api, track_id)
    stored = samples_of(api, track["output_path"])
    other = decoded(
        api.client.post("/generate", json=body | {"stream": False}, headers={"accept": "audio/wav"}).content
    )[0]
    assert len(stored) == round(SECONDS[backend] * RATES[backend])
    assert np.abs(stored - other).max() <= MAX_ROUNDING
    assert "stream" not in track["options"]
    # A finished track is heard whole.
    again = api.client.get(f"/tracks/{track_id}/stream")
    whole, rate = decoded(again.content)
    assert again.headers["content-type"] == "audio/ogg" and rate == LIVE_RATE and len(whole) == len(heard)


def test_it_is_heard_while_it_is_made_and_listeners_do_not_matter_to_it(api: Api) -> None:
    track_id = api.post("/generate/submit", **LONG)["track_id"]
    wait_until(lambda: api.get(f"/tracks/{track_id}").get("audible", True))
    # A track is audible from the header of its file on, which may come while it is queued.
    wait_until(lambda: api.get(f"/tracks/{track_id}")["state"] != "queued")
    assert api.get(f"/tracks/{track_id}")["progress"] < 0.9
    with api.client.stream("GET", f"/tracks/{track_id}/stream") as answer:
        first = next(answer.iter_raw())  # and this listener leaves
    assert first.startswith(b"OggS") and api.get(f"/tracks/{track_id}")["state"] == "making"
    files: list[bytes] = []

    def listen() -> None:
        files.append(httpx.get(f"{api.server.url}/tracks/{track_id}/stream", timeout=None, trust_env=False).content)

    listeners = [threading.Thread(target=listen) for _ in range(2)]
    for listener in listeners:
        listener.start()
    for listener in listeners:
        listener.join()
    assert files[0] == files[1] and files[0].startswith(first)
    assert len(decoded(files[0])[0]) == pytest.approx(LONG_SECONDS * LIVE_RATE, abs=LIVE_RATE // 10)
    assert len(samples_of(api, done(api, track_id)["output_path"])) == LONG_SECONDS * RATES["musicgen"]


def test_a_cancelled_track_breaks_off(api: Api) -> None:
    track_id = api.post("/generate/submit", **(LONG | {"duration_seconds": 300}))["track_id"]
    with (
        pytest.raises(httpx.RemoteProtocolError),
        api.client.stream("GET", f"/tracks/{track_id}/stream") as answer,
    ):
        chunks = answer.iter_raw()
        next(chunks)
        checked(api.client.delete(f"/tracks/{track_id}"))
        list(chunks)
    assert "cancelled" in error_of(api.client.get(f"/tracks/{track_id}/stream"), 409)
    checked(api.client.delete(f"/tracks/{track_id}"))
    error_of(api.client.get(f"/tracks/{track_id}/stream"), 404)


def test_what_cannot_be_heard_says_so(api: Api) -> None:
    error_of(api.client.get("/tracks/base:nothing/stream"), 404)
    for fields in ({"takes": 2}, {"best_of": 2, "rank": "key", "key": "A minor"}, {"loop": True, "bpm": 120}):
        answer = api.client.post("/generate/submit", json=TRACK | fields)
        assert error_of(answer, 400).startswith(f"{next(iter(fields))}: ")
    track_id = api.post("/generate/submit", **(LONG | {"stream": False}))["track_id"]
    assert "without stream" in error_of(api.client.get(f"/tracks/{track_id}/stream"), 409)
    assert api.get(f"/tracks/{track_id}")["audible"] is False
    checked(api.client.delete(f"/tracks/{track_id}"))
    assert all(row["streams"] for row in api.get("/backends")["backends"])


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory, tiny: dict[str, str]) -> Iterator[Api]:
    """A service of its own."""
    with running(tmp_path_factory.mktemp("listening"), tiny) as api:
        yield api


@pytest.mark.long
def test_a_killed_front_makes_it_again(keyed: Api) -> None:
    track_id = keyed.post("/generate/submit", **LONG)["track_id"]
    path = f"/tracks/{track_id}/stream"
    with pytest.raises(httpx.TransportError), keyed.client.stream("GET", path) as answer:
        chunks = answer.iter_raw()
        assert next(chunks).startswith(b"OggS")
        keyed.process("ProducerTwin").kill()
        list(chunks)

    def heard() -> bytes | None:
        try:
            found = keyed.client.get(path, timeout=None)
        except httpx.TransportError:  # the front is not back yet
            return None
        return found.content if found.status_code == 200 else None

    whole = None
    end = time.monotonic() + 300
    while whole is None and time.monotonic() < end:
        whole = heard()
        time.sleep(0.5)
    assert whole and len(decoded(whole)[0]) == pytest.approx(LONG_SECONDS * LIVE_RATE, abs=LIVE_RATE // 10)


def headers_of(api: Api, producer: str) -> dict[str, str]:
    """Those of an artist with a key for one producer."""
    token = api_keys.create(open_storage(api.folder.as_uri()), producer, ["generate"], [producer])
    headers = {"authorization": f"Bearer {token}"}
    wait_until(lambda: api.client.get("/backends", headers=headers).status_code == 200)
    return headers


def test_a_stranger_hears_nothing(keyed: Api) -> None:
    reference = keyed.upload("ada", beat(4), filename="beat.wav")
    ada, bob = headers_of(keyed, "ada"), headers_of(keyed, "bob")
    body = TRACK | {"reference": reference, "duration_seconds": 30, "steps": 100}
    track_id = checked(keyed.client.post("/generate/submit", json=body, headers=ada))["track_id"]
    path = f"/tracks/{track_id}/stream"
    error_of(keyed.client.get(path, headers=bob), 404)
    assert keyed.client.get(path, headers=ada).content.startswith(b"OggS")
    wait_until(lambda: "output_path" in keyed.client.get(f"/tracks/{track_id}", headers=ada).json())
    error_of(keyed.client.get(path, headers=bob), 404)
