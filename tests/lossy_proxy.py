"""A proxy whose first answer to each POST is lost, after the service has done the work."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal, cast

import httpx

from tests.api import PATIENCE

# What the client gets in place of the answer: a closed connection; a proxy's error when the service has answered; or
# one while the service is still at work.
Loss = Literal["closed", 502, 504, "early"]
# Headers that are about one connection.
_OWN = {"connection", "content-length", "content-encoding", "host", "transfer-encoding", "date", "server"}


class LossyProxy(ThreadingHTTPServer):
    """The proxy.

    Attributes:
        lost: the paths whose first answer was lost.
        answered: the statuses of the answers that the client got, by their paths.
    """

    daemon_threads = True

    def __init__(self, service: str, loss: Loss) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.client = httpx.Client(base_url=service, timeout=PATIENCE, trust_env=False)
        self.loss = loss
        self.lost: list[str] = []
        self.answered: list[tuple[str, int]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        proxy = cast(LossyProxy, self.server)
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        is_lost = self.command == "POST" and self.path not in proxy.lost
        if is_lost:
            proxy.lost.append(self.path)
            if proxy.loss == "early":
                threading.Thread(target=self._passed_on, args=(body,), daemon=True).start()
                self._answer(504, b"upstream timed out", [])
                return
        answer = self._passed_on(body)
        if not is_lost or answer.is_error:
            kept = [(name, value) for name, value in answer.headers.items() if name.lower() not in _OWN]
            proxy.answered.append((self.path, answer.status_code))
            self._answer(answer.status_code, answer.content, kept)
            return
        if isinstance(proxy.loss, int):
            self._answer(proxy.loss, b"upstream broke", [])
        else:
            self.close_connection = True

    do_POST = do_DELETE = do_GET

    def _passed_on(self, body: bytes) -> httpx.Response:
        proxy = cast(LossyProxy, self.server)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _OWN}
        return proxy.client.request(self.command, self.path, headers=headers, content=body)

    def _answer(self, status: int, body: bytes, headers: list[tuple[str, str]]) -> None:
        self.send_response(status)
        for name, value in [*headers, ("content-length", str(len(body)))]:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def lossy(service: str, loss: Loss) -> Iterator[LossyProxy]:
    with LossyProxy(service, loss) as proxy:
        thread = threading.Thread(target=proxy.serve_forever)
        thread.start()
        try:
            yield proxy
        finally:
            proxy.shutdown()
            thread.join()
            proxy.client.close()
