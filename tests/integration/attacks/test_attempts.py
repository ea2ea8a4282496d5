"""Every attempt is refused as it should be, changes nothing in storage, and reveals nothing."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from tests.api import PATIENCE, error_of
from tests.integration.attacks.attempts import ATTACKS, Attack
from tests.integration.attacks.conftest import SECRET, Guarded


@pytest.mark.parametrize("attack", ATTACKS, ids=str)
def test_it_is_refused_and_changes_nothing(guarded: Guarded, attack: Attack) -> None:
    before = guarded.api.stored()
    options = dict(attack.options)
    if attack.body is not None:
        options["content"] = json.dumps(attack.body)
    if "content" in options:
        options["headers"] = {"content-type": "application/json"} | options.get("headers", {})
    answer = guarded.ask(attack.who, attack.method, attack.path, **options)
    error = error_of(answer, answer.status_code)
    assert answer.status_code in attack.statuses, error
    assert SECRET not in error
    assert "ada_night:" not in error
    assert guarded.api.stored() == before
    assert not Path("/tmp/pwned-by-pickle").exists()


RAW = {
    "two lengths": b"POST /generate HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 50\r\n\r\nhello",
    "a length and chunks": (
        b"POST /generate HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"0\r\n\r\nGET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    ),
    "a folded header": b"GET /jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nX-A: b\r\n Authorization: Bearer x\r\n\r\n",
    "a length that is no number": b"POST /generate HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: +5\r\n\r\nhello",
    "an endless header": b"GET /jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nX-A: " + b"a" * 200_000 + b"\r\n\r\n",
}


@pytest.mark.parametrize("name", RAW)
def test_requests_within_requests(guarded: Guarded, name: str) -> None:
    """Request smuggling: however the server reads it, a client without a key gets no answer."""
    host, port = guarded.api.server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as line:
        got = b""
        try:
            line.sendall(RAW[name])  # the server may close before it has read all
            line.settimeout(1.5)
            while chunk := line.recv(65_536):
                got += chunk
        except (TimeoutError, ConnectionError):
            pass
    statuses = [int(part[1:4]) for part in got.split(b"HTTP/1.1")[1:]]
    assert all(status in (400, 401, 403, 413, 431) for status in statuses), got[:500]
    assert b"producer_twin" not in got
