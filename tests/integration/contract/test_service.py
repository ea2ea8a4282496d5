"""The service about itself: backends, health, and its processes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import httpx
import psutil
import pytest

from tests.api import BACKENDS, CHANNELS, RATES, Api, Json, wait_until_ready

BACKEND_KEYS = {
    *("name", "ready", "reason", "checkpoint", "licence", "commercial_use", "sample_rate", "channels"),
    *("max_duration_seconds", "tasks", "takes_reference", "streams", "default", "under_way", "training", "loading"),
}


def test_backends_are_told(api: Api) -> None:
    wait_until_ready(api)
    rows: Sequence[Json] = api.get("/backends")["backends"]
    assert [row["name"] for row in rows] == list(BACKENDS)
    for row in rows:
        assert row.keys() == BACKEND_KEYS
        assert row["ready"] is True and row["reason"] is None
        assert (row["sample_rate"], row["channels"]) == (RATES[row["name"]], CHANNELS[row["name"]])
    ace, music = rows
    assert (ace["default"], ace["commercial_use"], ace["max_duration_seconds"]) == (True, True, 600)
    assert (music["default"], music["commercial_use"]) == (False, False)
    assert "NC" in music["licence"]


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/healthz"])
def test_health_is_told(api: Api, path: str) -> None:
    assert api.client.get(path).status_code == 200


def test_the_front_imports_no_torch(api: Api) -> None:
    def maps(process: psutil.Process) -> str:
        return Path(f"/proc/{process.pid}/maps").read_text()

    front = api.process("ProducerTwin")
    port = httpx.URL(api.server.url).port
    assert port in [place.laddr.port for place in front.net_connections("tcp") if place.status == psutil.CONN_LISTEN]
    assert "libtorch" not in maps(front)
    assert "libtorch" in maps(api.process("AceStepRunner"))
