"""Idle and slow connections to a real server: they are closed, and others are served meanwhile."""

from __future__ import annotations

import json
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPResponse

import httpx
import pytest

from storage import keys
from tests.api import ACE_STEP_ONLY, PATIENCE, Api, error_of, running, wait_until

HEAD_SECONDS, UNREAD_SECONDS, SILENCE_SECONDS = 3, 4, 3
MAX_CONNECTIONS = 100
SONG = keys.output(None, "long", "wav")


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory, tiny: dict[str, str]) -> Iterator[Api]:
    limits = {
        "HEAD_SECONDS": str(HEAD_SECONDS),
        "UNREAD_SECONDS": str(UNREAD_SECONDS),
        "BODY_SILENCE_SECONDS": str(SILENCE_SECONDS),
        "MAX_CONNECTIONS": str(MAX_CONNECTIONS),
        "STREAMS_AT_ONCE": "8",
    }
    with running(tmp_path_factory.mktemp("impatient"), tiny | ACE_STEP_ONLY | limits, ("ace_step",)) as api:
        song = api.folder / SONG
        song.parent.mkdir(parents=True)
        song.write_bytes(b"RIFF" + bytes(30_000_000))
        yield api


@contextmanager
def line(api: Api, start: bytes = b"") -> Iterator[socket.socket]:
    host, port = api.server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as opened:
        opened.sendall(start)
        yield opened


def dribble(opened: socket.socket, piece: bytes, seconds: float) -> tuple[float, bytes]:
    """Send `piece` again and again until the server closes. Returns the seconds that it took, and the answer."""
    start, said = time.monotonic(), b""
    opened.settimeout(0.3)
    while (took := time.monotonic() - start) < seconds:
        try:
            opened.sendall(piece)
            if not (chunk := opened.recv(65_536)):
                return took, said
            said += chunk
        except TimeoutError:
            continue
        except OSError:
            return took, said
    raise AssertionError(f"open after {seconds} s: {said[:500]!r}")


def status(opened: socket.socket) -> int:
    """The status of the next answer, which is read to its end."""
    with HTTPResponse(opened) as answer:
        answer.begin()
        answer.read()
        return answer.status


def status_by_itself(api: Api, path: str) -> int:
    """The status of a request on a connection of its own, which cannot have been closed before."""
    return httpx.get(f"{api.server.url}{path}", timeout=PATIENCE, trust_env=False).status_code


def served_at_once(api: Api) -> None:
    start = time.monotonic()
    assert api.client.get("/loras").status_code == 200
    assert time.monotonic() - start < HEAD_SECONDS


@pytest.mark.parametrize(
    ("start", "piece"),
    [
        (b"", b""),
        (b"GET /jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nX-A: ", b""),
        (b"GET /jobs HTTP/1.1\r\nHost: 127.0.0.1\r\n", b"x-a: b\r\n"),
        (b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", b"G"),
        (b"POST /nothing HTTP/1.1\r\nHost: 127.0.0.1\r\nVia: 1.1 x\r\nContent-Length: 90000\r\n\r\n", b"x"),
    ],
    ids=["silent", "half a head", "a head without end", "half a second head", "the body of what was refused"],
)
def test_a_connection_without_a_request_ends(impatient: Api, start: bytes, piece: bytes) -> None:
    with line(impatient, start) as opened:
        took, said = dribble(opened, piece, HEAD_SECONDS + 30)
    assert took > HEAD_SECONDS - 1
    if piece != b"" and not start.startswith(b"POST"):
        head, _, body = said[said.rindex(b"HTTP/1.1") :].partition(b"\r\n\r\n")
        assert b" 408 " in head
        assert "head" in json.loads(body)["error"]


def test_silent_connections_keep_nobody_out(impatient: Api) -> None:
    """With more connections than the server keeps, those that have been silent for longest are closed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4096)), hard))
    with ExitStack() as stack:
        for number in range(1000):
            stack.enter_context(line(impatient, b"GET /jobs HTTP/1.1\r\n" if number % 2 else b""))
            if number % 100 == 99:
                served_at_once(impatient)
        assert impatient.client.get("/readyz").status_code == 200
    text = impatient.client.get("/metrics").text
    assert 'producer_twin_connections_closed_total{cause="too many"}' in text
    assert "MAX_CONNECTIONS" in impatient.server.log.read_text()


def test_requests_under_way_are_not_closed_for_new_connections(impatient: Api) -> None:
    asked = b"POST /jobs/x/resume HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n"
    alive = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with line(impatient, alive) as between, line(impatient, asked) as under_way, ExitStack() as stack:
        assert status(between) == 200
        for _ in range(MAX_CONNECTIONS + 20):
            stack.enter_context(line(impatient))
        between.sendall(alive)  # it has been served before, so silent newcomers are closed first
        assert status(between) == 200
        under_way.sendall(b"{}")
        assert status(under_way) == 404


def test_requests_that_wait_to_be_read_are_not_closed_for_new_connections(impatient: Api) -> None:
    """A stopped server finds a request and many newer connections at once when it goes on."""
    front = impatient.process("ProducerTwin")
    with ExitStack() as stack:
        front.suspend()
        stack.callback(front.resume)
        asked = stack.enter_context(line(impatient, b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"))
        for _ in range(MAX_CONNECTIONS + 20):
            stack.enter_context(line(impatient))
        front.resume()
        assert status(asked) == 200


def test_an_answer_that_nobody_reads_ends(impatient: Api) -> None:
    """The connection is closed and its slot is free again, so that the next request is served."""
    asked = f"GET {keys.to_path(SONG)} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
    with ExitStack() as stack:
        opened = []
        for _ in range(4):  # as many streams as one client may have
            opened.append(stack.enter_context(line(impatient)))
            opened[-1].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            opened[-1].sendall(asked)
        wait_until(lambda: status_by_itself(impatient, "/queue/x") == 429)
        served_at_once(impatient)
        wait_until(lambda: status_by_itself(impatient, "/queue/x") == 404, UNREAD_SECONDS + 30)
    assert 'cause="answer not read"' in impatient.client.get("/metrics").text


def test_a_slow_reader_gets_all_of_it(impatient: Api) -> None:
    """A client that keeps reading is not cut off, however slow it is."""
    start, got = time.monotonic(), 0
    with impatient.client.stream("GET", keys.to_path(SONG)) as answer:
        for chunk in answer.iter_raw(2**20):
            got += len(chunk)
            time.sleep(UNREAD_SECONDS / 15)
    assert got == 30_000_004
    assert time.monotonic() - start > 1.5 * UNREAD_SECONDS


def test_a_body_that_trickles_is_given_up(impatient: Api) -> None:
    head = b"POST /store-upload HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 900000\r\n\r\n"
    with line(impatient, head) as opened:
        took, said = dribble(opened, b" ", SILENCE_SECONDS + HEAD_SECONDS + 30)
    assert said.startswith(b"HTTP/1.1 408"), said
    assert b"less than 64 KiB" in said
    assert took >= SILENCE_SECONDS


UPGRADE = (
    b"Host: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)


@pytest.mark.parametrize(
    "head",
    [
        b"GET /loras HTTP/1.1\r\n" + UPGRADE + b"\r\n",
        b"GET /loras HTTP/1.1\r\n" + UPGRADE + b"Content-Length: 90000\r\n\r\n",
        b"POST /loras HTTP/1.1\r\n" + UPGRADE + b"Transfer-Encoding: chunked\r\n\r\n",
    ],
    ids=["a handshake", "with a body", "not by GET"],
)
def test_no_other_protocol_takes_the_connection(impatient: Api, head: bytes) -> None:
    """A request for an upgrade is answered as HTTP, and the connection is closed as others are."""
    with line(impatient, head) as opened:
        _, said = dribble(opened, b"", HEAD_SECONDS + SILENCE_SECONDS + 30)
    assert said.startswith((b"HTTP/1.1 200", b"HTTP/1.1 405"))


def test_a_request_with_two_ends_is_refused(impatient: Api) -> None:
    """Request smuggling: a proxy may see the end of the body elsewhere, and its rest as another request."""
    within = b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    head = b"POST /generate HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
    with line(impatient, head + b"0\r\n\r\n" + within) as opened:
        _, said = dribble(opened, b"", 30)
    assert said.count(b"HTTP/1.1") == 1
    assert said.startswith(b"HTTP/1.1 400")


def test_a_body_that_is_no_http_is_refused(impatient: Api) -> None:
    head = b"POST /generate HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    with line(impatient, head + b"ZZ\r\n") as opened:
        _, said = dribble(opened, b"", 30)
    assert said.startswith(b"HTTP/1.1 400")
    assert list(json.loads(said.partition(b"\r\n\r\n")[2])) == ["error"]
    wait_until(lambda: "POST /generate → 499" in impatient.server.log.read_text())
    assert "POST /generate → 500" not in impatient.server.log.read_text()


def test_what_is_no_http_gets_the_one_shape(impatient: Api) -> None:
    with line(impatient, b"\x16\x03\x01 hello\r\n\r\n") as opened:
        _, said = dribble(opened, b"", 30)
    head, _, body = said.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400")
    assert b"application/json" in head
    assert list(json.loads(body)) == ["error"]


# Headers of requests that come through a proxy or from another site's page, though the connection is local.
FOREIGN = [
    "Forwarded: for=1.2.3.4",
    "Via: 1.1 x",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Anything: x",
    "X-Real-IP: 1.2.3.4",
    "CF-Connecting-IP: 1.2.3.4",
    "CF-Ray: 1",
    "True-Client-IP: 1.2.3.4",
    "X-Client-IP: 1.2.3.4",
    "X-Cluster-Client-IP: 1.2.3.4",
    "X-Original-URL: /x",
    "X-Original-Host: x",
    "Fastly-Client-IP: 1.2.3.4",
    "Fly-Client-IP: 1.2.3.4",
    "X-Envoy-External-Address: 1.2.3.4",
    "Sec-Fetch-Site: cross-site",
    "Sec-Fetch-Site: same-site",
    "Origin: https://example.com",
]


def status_of(api: Api, head: str) -> tuple[int, str]:
    with line(api, head.encode()) as opened:
        opened.settimeout(30)
        said = b""
        while chunk := opened.recv(65_536):
            said += chunk
    return int(said.split(b" ")[1]), said.partition(b"\r\n\r\n")[2].decode()


@pytest.mark.parametrize("header", FOREIGN)
def test_without_a_key_proxies_and_foreign_pages_are_refused(impatient: Api, header: str) -> None:
    head = f"GET /jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n{header}\r\n\r\n"
    status, body = status_of(impatient, head)
    assert status == 401
    assert header.partition(":")[0].lower() in json.loads(body)["error"].lower()


def test_without_a_key_http_1_0_is_a_proxy(impatient: Api) -> None:
    status, body = status_of(impatient, "GET /jobs HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
    assert (status, "HTTP/1.0" in body) == (401, True)
    curl = (
        "GET /jobs HTTP/1.1\r\nHost: localhost:3000\r\nUser-Agent: curl/8\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    )
    assert status_of(impatient, curl)[0] == 200
    assert error_of(impatient.client.get("/jobs", headers={"via": "1.1 x"}), 401)
