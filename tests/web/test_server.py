"""The app's server: the host names that it answers to, and the visitor's address that it passes on."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import psutil
import pytest

from core.settings import ROOT
from scripts.serving import comes_up, free_port, stop
from scripts.web import WEB
from tests.api import PATIENCE, Api, command_of, error_of, wait_until
from tests.conftest import IS_WEB
from tests.web.conftest import StandIn, Web
from tests.web.test_routes import HEADER

GENERATE = "/api/artist/generate"
BODY = {"artistId": "a", "loraId": "p:night", "prompt": "dark"}
PUBLIC = {"WEB_HOSTS": "studio.example, twins.example", "WEB_TRUSTED_PROXIES": "1"}


@pytest.fixture
def public(web: Web, stand_in: StandIn) -> httpx.Client:
    """The app behind a proxy."""
    return web(stand_in.environment | PUBLIC)


def bare(app: httpx.Client, head: str) -> int:
    """Send a request byte for byte. Returns its status."""
    with socket.create_connection((app.base_url.host, app.base_url.port or 0), timeout=PATIENCE) as connection:
        connection.sendall(head.replace("\n", "\r\n").encode() + b"\r\n\r\n")
        return int(connection.makefile("rb").readline().split()[1])


@pytest.mark.parametrize("path", ["/", "/producer", "/icon.svg", "/api/service/backends", GENERATE])
@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "evil.example:3001", "localhost.evil.example", "127.0.0.1.evil.example", "0.0.0.0:3001"),
        *("[::]", "studio.example", "localhost:3001@evil.example", "evil.example:80:3001", "10.0.0.7"),
    ],
)
def test_it_is_not_served_under_another_name(original: httpx.Client, stand_in: StandIn, host: str, path: str) -> None:
    answer = original.request("POST" if path == GENERATE else "GET", path, headers={"host": host}, json=BODY)
    assert "WEB_HOSTS" in error_of(answer, 421)
    assert stand_in.seen == []


def test_it_is_not_served_without_a_name(original: httpx.Client) -> None:
    assert bare(original, "GET /api/service/backends HTTP/1.0") == 421
    assert bare(original, "GET / HTTP/1.1\nHost: ") in (400, 421)
    assert bare(original, "GET / HTTP/1.1\nHost: localhost\nHost: evil.example") in (400, 200)  # the first one counts
    assert bare(original, "GET http://evil.example/ HTTP/1.1\nHost: evil.example") == 421


@pytest.mark.parametrize("host", ["localhost:3001", "127.0.0.1", "[::1]:3001", "LocalHost"])
def test_it_is_served_under_the_names_of_this_machine(original: httpx.Client, host: str) -> None:
    assert original.get("/", headers={"host": host}).status_code == 200


def test_it_is_served_under_the_names_that_its_operator_lists(public: httpx.Client) -> None:
    for host in ("studio.example", "Twins.Example:8443", "127.0.0.1"):
        assert public.get("/", headers={"host": host}).status_code == 200
    error_of(public.get("/", headers={"host": "other.example"}), 421)


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "null",
        "http://localhost:8080",
        "https://127.0.0.1",
        "http://studio.example",
        "file://",
        "",
    ],
)
@pytest.mark.parametrize(
    "path", [GENERATE, "/api/producer/train", "/api/producer/upload-and-train", "/api/service/generate"]
)
def test_another_sites_page_writes_nothing(original: httpx.Client, stand_in: StandIn, origin: str, path: str) -> None:
    answer = original.post(path, json=BODY, headers=HEADER | {"origin": origin})
    assert "another site's page" in error_of(answer, 403)
    assert stand_in.seen == []


def test_its_own_pages_write(original: httpx.Client, public: httpx.Client) -> None:
    own = str(original.base_url).rstrip("/")
    assert original.post(GENERATE, json=BODY, headers={"origin": own}).status_code == 200
    of_proxy = {"origin": "https://studio.example", "host": "studio.example"}
    assert public.post(GENERATE, json=BODY, headers=of_proxy).status_code == 200
    # A proxy that sends the app's own address as Host.
    assert public.post(GENERATE, json=BODY, headers={"origin": "https://studio.example"}).status_code == 200


def visitor(app: httpx.Client, stand_in: StandIn, **headers: str) -> str:
    """The visitor's address that the service receives."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    assert app.post(GENERATE, json=BODY, headers=sent).status_code == 200
    (_, seen, _) = stand_in.seen.pop()
    return seen["x-visitor-address"]


def test_the_service_is_told_the_visitors_address(
    original: httpx.Client, public: httpx.Client, stand_in: StandIn
) -> None:
    spoofed = {"x_forwarded_for": "6.6.6.6", "x_visitor_address": "6.6.6.6", "x_real_ip": "6.6.6.6"}
    assert visitor(original, stand_in, **spoofed) == "127.0.0.1"
    assert visitor(public, stand_in, x_forwarded_for="9.9.9.9") == "9.9.9.9"
    assert visitor(public, stand_in, x_forwarded_for="6.6.6.6, 2001:db8::1") == "2001:db8::1"
    assert (
        visitor(public, stand_in, x_forwarded_for="6.6.6.6, 9.9.9.9:4711") == "127.0.0.1"
    )  # not the header that a visitor sends
    assert visitor(public, stand_in, x_visitor_address="6.6.6.6") == "127.0.0.1"


def test_the_key_stays_in_the_server(original: httpx.Client, stand_in: StandIn, studio: httpx.Client) -> None:
    (key,) = IS_WEB.values()
    assert original.post(GENERATE, json=BODY, headers={"authorization": "Bearer ptk_a_b"}).status_code == 200
    assert stand_in.seen[-1][1]["authorization"] == f"Bearer {key}"
    for path in ("/", "/producer", "/api/service/backends"):
        answer = studio.get(path)
        scripts = re.findall(r'src="(/_next/[^"]+)"', answer.text)
        for each in [answer, *map(studio.get, scripts)]:
            assert each.status_code == 200
            assert key not in each.text + str(each.headers) and "x-visitor-address" not in str(each.headers)


def test_a_service_that_does_not_know_the_app(web: Web, api: Api) -> None:
    """The service does not treat the app's visitors as programs of its own machine."""
    for key in ("", "ptk_0123456789abcdef_no"):
        stranger = web({"MUSIC_SERVICE_URL": api.server.url, "MUSIC_SERVICE_API_KEY": key})
        answer = stranger.get("/api/service/backends")
        assert "MUSIC_SERVICE_API_KEY" in error_of(answer, 503) and "www-authenticate" not in answer.headers


@contextmanager
def started(command: list[str], cwd: Path, environment: dict[str, str], seconds: float) -> Iterator[psutil.Process]:
    """Run a command that serves the app on the port of its environment."""
    process = subprocess.Popen(command, cwd=cwd, env=os.environ | environment, start_new_session=True)
    try:
        assert comes_up(process, f"http://127.0.0.1:{environment['WEB_PORT']}/icon.svg", seconds)
        yield psutil.Process(process.pid)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)  # npm does not pass it on
        stop(process, 60)


def listening(process: psutil.Process) -> set[str]:
    tree = [process, *process.children(recursive=True)]
    return {each.laddr.ip for one in tree for each in one.net_connections("tcp") if each.status == psutil.CONN_LISTEN}


@pytest.mark.parametrize("script", [["start"], ["run", "dev"]])
def test_it_listens_on_this_machine_alone(script: list[str]) -> None:
    environment = {"WEB_PORT": str(free_port()), "NEXT_TELEMETRY_DISABLED": "1"}
    with started(["npm", *script], WEB, environment, 300) as process:
        assert listening(process) == {"127.0.0.1"}


def test_make_web(tmp_path: Path, tiny: dict[str, str]) -> None:
    """It starts a service with a key of its own, and leaves neither a key nor a process."""
    environment = tiny | {"WEB_PORT": str(free_port()), "STORAGE_URL": tmp_path.as_uri(), "MUSIC_SERVICE_URL": ""}
    with started([sys.executable, "-m", "scripts.web"], ROOT, environment, PATIENCE) as make:
        processes = [make, *make.children(recursive=True)]
        assert listening(make) == {"127.0.0.1"}
        app = f"http://127.0.0.1:{environment['WEB_PORT']}/api/service/backends"
        assert httpx.get(app, timeout=PATIENCE, trust_env=False).status_code == 200
        (serve,) = (line for each in make.children() if "--port" in (line := command_of(each)))
        service = f"http://127.0.0.1:{serve[serve.index('--port') + 1]}/backends"
        # Local programs still need no key.
        assert httpx.get(service, timeout=PATIENCE, trust_env=False).status_code == 200
        visited = httpx.get(service, headers={"x-visitor-address": "127.0.0.1"}, timeout=PATIENCE, trust_env=False)
        error_of(visited, 401)
        assert not list(tmp_path.rglob("*key*"))
        another = subprocess.run(
            [*make.cmdline()], cwd=ROOT, env=os.environ | environment, capture_output=True, text=True
        )
        assert another.returncode == 1 and another.stderr.startswith("error: WEB_PORT: ")
        start = time.monotonic()
        make.send_signal(signal.SIGTERM)
        wait_until(lambda: not any(each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in processes))
        assert time.monotonic() - start < 30
    assert not list(tmp_path.rglob("*key*"))
