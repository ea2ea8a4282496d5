"""A runner stops when its client disconnects, and is started again when it was killed."""

from __future__ import annotations

import signal
import time

import httpx
import pytest

from tests.api import PATIENCE, Api, Json, error_of, wait_until_ready

GENERATE: Json = {"prompt": "trap", "duration_seconds": 1}


def test_who_goes_away_frees_the_runner(api: Api) -> None:
    runner = api.process("AceStepRunner")
    minutes = GENERATE | {"backend_override": "ace_step", "duration_seconds": 600, "steps": 200}
    with pytest.raises(httpx.ReadTimeout):
        api.client.post("/generate", json=minutes, headers={"accept": "audio/wav"}, timeout=3)
    end = time.monotonic() + PATIENCE
    while (used := sum(runner.cpu_times()[:2])) is not None:
        time.sleep(1)
        if sum(runner.cpu_times()[:2]) - used < 0.1:
            break
        assert time.monotonic() < end, "it goes on though nobody waits"


def test_a_runner_that_was_killed_comes_back(api: Api) -> None:
    wait_until_ready(api)
    before = api.generate(backend_override="musicgen", duration_seconds=1)
    stored = api.stored()
    minutes = GENERATE | {"backend_override": "musicgen", "duration_seconds": 300, "stream": True}
    with api.client.stream("POST", "/generate", json=minutes, headers={"accept": "audio/flac"}) as answer:
        chunks = answer.iter_raw()
        next(chunks)
        api.process("MusicGenRunner").send_signal(signal.SIGKILL)
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):  # as the connection is closed or reset
            list(chunks)
    assert api.stored() == stored, "a track that was not sent to its end is not stored"
    body = GENERATE | {"backend_override": "musicgen"}
    end = time.monotonic() + PATIENCE
    while (answer := api.client.post("/generate", json=body)).status_code != 200:
        assert "musicgen" in error_of(answer, 503)
        assert time.monotonic() < end, answer.text
        # The other backend serves meanwhile.
        assert api.client.get("/readyz").status_code == 200
        assert api.generate(backend_override="ace_step", duration_seconds=1).any()
    wait_until_ready(api)
    assert (api.generate(backend_override="musicgen", duration_seconds=1) == before).all()
