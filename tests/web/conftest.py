"""The built app in front of a real service, or of a stand-in for the original's three addresses."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from scripts.web import serving_web
from tests.api import Api, Json
from tests.chromium import chromium
from tests.conftest import IS_WEB, PASSWORD


@dataclass
class StandIn:
    """A server for the three addresses.

    Attributes:
        url: its address.
        answers: the status and body that it answers, by path.
        delays: seconds to wait before an answer, by path.
        seen: the requests that it received: path, headers, body.
    """

    url: str
    answers: dict[str, tuple[int, Any]]
    delays: dict[str, float] = field(default_factory=dict)
    seen: list[tuple[str, dict[str, str], Json]] = field(default_factory=list)

    def reset(self) -> None:
        self.seen.clear()
        self.delays.clear()
        self.answers |= {
            "/store": (200, {"path": "/data/uploads/p/j/beat.wav", "producer_id": "p", "job_id": "j"}),
            "/teach": (200, {"job_id": "theirs", "producer_id": "p", "model_name": "night", "backend": "ace_step"}),
            "/sing": (200, {"audio_base64": "UklGRg==", "backend": "ace_step", "seed": 3}),
        }

    @property
    def environment(self) -> dict[str, str]:
        return {
            "MODAL_STORE_UPLOAD_WEB_URL": f"{self.url}/store",
            "MODAL_TRAIN_WEB_URL": f"{self.url}/teach",
            "MODAL_GENERATE_WEB_URL": f"{self.url}/sing",
        }


@pytest.fixture(scope="session")
def _stand_in() -> Iterator[StandIn]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            made.seen.append((self.path, {k.lower(): v for k, v in self.headers.items()}, json.loads(body)))
            status, answer = made.answers[self.path]
            time.sleep(made.delays.get(self.path, 0))
            data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made = StandIn(f"http://127.0.0.1:{server.server_port}", {})
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield made
    server.shutdown()


@pytest.fixture
def stand_in(_stand_in: StandIn) -> StandIn:
    _stand_in.reset()
    return _stand_in


Web = Callable[[dict[str, str]], httpx.Client]
# With more guesses than one test has.
GUARDED = {"NAWFSIDE_APP_PASSWORD": PASSWORD, "SIGN_IN_ATTEMPTS_PER_MINUTE": "1000"}


@pytest.fixture(scope="session")
def web() -> Iterator[Web]:
    """Start the app with the service's key and an environment; the same environment shares a process."""
    from contextlib import ExitStack

    with ExitStack() as stack:
        made: dict[str, httpx.Client] = {}

        def start(environment: dict[str, str]) -> httpx.Client:
            name = json.dumps(environment, sort_keys=True)
            if name not in made:
                url = stack.enter_context(serving_web(IS_WEB | environment))
                made[name] = stack.enter_context(httpx.Client(base_url=url, timeout=300, trust_env=False))
            return made[name]

        yield start


@pytest.fixture
def original(web: Web, stand_in: StandIn) -> httpx.Client:
    """The app with the original's three variables and the password."""
    return web(stand_in.environment | GUARDED)


@pytest.fixture(scope="session")
def studio(web: Web, api: Api) -> httpx.Client:
    """The app in front of a real service."""
    return web({"MUSIC_SERVICE_URL": api.server.url})


@pytest.fixture(scope="session")
def alone(web: Web) -> Iterator[httpx.Client]:
    """The app whose service is down: its port is taken by a socket that does not listen."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield web({"MUSIC_SERVICE_URL": f"http://127.0.0.1:{taken.getsockname()[1]}"})


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(accept_downloads=True)
    page = context.new_page()
    page.set_default_timeout(60_000)
    expect.set_options(timeout=60_000)  # a page may wait for the analysis of a song, which takes seconds
    yield page
    context.close()
