"""Published advisories on BentoML's servers, tried on the public port by a client with full access.

Those on building from another's file (CVE-2026-24123, 27905, 33744, 35044, 44345, 44346: a bentofile that
reads outside of its folder, or writes into the Dockerfile) have no way in: a Bento is built from this project.
"""

from __future__ import annotations

import json
import pickle
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api import Api, as_base64, beat, error_of

JSON_PATHS = ("/generate", "/store-upload", "/train", "/train/submit")
FORM_PATHS = ("/uploads", "/loras/import")
ROOTS = ("/", "/predict", "/infer", "/classify", "/train/retry", "/train/cancel", "/assets/x", "/static_content/x")
# Headers with which BentoML's clients and runners describe a body.
RUNNER = {
    "args-number": "1",
    "batch-size": "1",
    "payload-container": "NdarrayContainer",
    "payload-meta": '{"format": "pickle5", "with_buffer": false, "pickle_bytes_str": ""}',
    "yatai-bentoml-deployment-name": "x",
}
KINDS = (
    "application/vnd.bentoml+pickle",
    "Application/VND.BentoML+Pickle",
    "application/vnd.bentoml+pickle; charset=utf-8",
    "application/vnd.bentoml.pickle",
    "application/vnd.bentoml+arrow",
    "application/octet-stream",
)


class Mischief:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return (exec, (f"open({str(self.mark)!r}, 'w')",))


def refused(answer: httpx.Response) -> str:
    assert 400 <= answer.status_code < 500, (answer.status_code, answer.text[:500])
    return error_of(answer, answer.status_code)


@pytest.mark.parametrize("kind", KINDS)
def test_a_pickle_as_a_body(api: Api, tmp_path: Path, kind: str) -> None:
    """CVE-2024-2912, CVE-2025-27520: a body was unpickled because of its Content-Type."""
    mark = tmp_path / "mark"
    for body in (pickle.dumps(Mischief(mark)), pickle.dumps({"prompt": Mischief(mark)})):
        for path in (*JSON_PATHS, *FORM_PATHS, *ROOTS, "/jobs/x/resume", "/loras/a:b/retrain"):
            refused(api.client.post(path, content=body, headers={"content-type": kind, "buffer-lengths": "1"}))
    assert not mark.exists()


@pytest.mark.parametrize("container", ["NdarrayContainer", "PandasDataFrameContainer", "DefaultContainer", "Default"])
def test_a_runners_headers(api: Api, tmp_path: Path, container: str) -> None:
    """CVE-2025-32375: a runner unpickled a body because of `Payload-Container`. Ours listen on no port, and the front
    ignores the header."""
    mark = tmp_path / "mark"
    evil = pickle.dumps(Mischief(mark))
    meta = json.dumps({"format": "pickle5", "with_buffer": False, "pickle_bytes_str": as_base64(evil)})
    for kind in ("application/vnd.bentoml+pickle", "application/json", "application/octet-stream"):
        headers = RUNNER | {"payload-container": container, "payload-meta": meta, "content-type": kind}
        for path in (*JSON_PATHS, *ROOTS):
            refused(api.client.post(path, content=evil, headers=headers))
    assert not mark.exists()


@contextmanager
def listener() -> Iterator[tuple[str, list[str]]]:
    """A server on the loopback: its URL, and the paths that it was asked for."""
    asked: list[str] = []

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"secret")

        do_HEAD = do_GET

        def log_message(self, format: str, *args: Any) -> None:
            return

    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()


def test_an_address_where_a_file_belongs(api: Api) -> None:
    """CVE-2025-54381: BentoML fetched a URL that a form or a JSON body had in place of a file."""
    with listener() as (url, asked):
        fields = {"producer_id": "ada", "model_name": "x", "backend": "ace_step"}
        for path in FORM_PATHS:
            refused(api.client.post(path, files={"file": (None, url + path)}, data=fields))
            refused(api.client.post(path, data={**fields, "file": url + path}))
            refused(
                api.client.post(path, files={"file": ("x.wav", (url + path).encode(), "text/uri-list")}, data=fields)
            )
        for path in JSON_PATHS:
            refused(api.client.post(path, files={"body": (None, url + path)}))
            refused(api.client.post(path, json=url + path))
            refused(api.client.post(path, json={"body": url + path, "file": url + path, "url": url + path}))
        refused(api.client.post("/store-upload", json={"producer_id": "ada", "content_base64": url}))
        refused(api.client.post("/train/submit", json={"producer_id": "ada", "upload_urls": [url]}))
        time.sleep(0.5)
        assert asked == []


@pytest.mark.parametrize("filler", [b"-", b"\r\n", b"\r", b"--"])
def test_a_boundary_without_end(api: Api, filler: bytes) -> None:
    """CVE-2024-9056 and CVE-2024-10949: bytes after a form's boundary took quadratic time."""
    body = b"--bound" + filler * (4 * 2**20 // len(filler)) + b"\r\n"
    for path in FORM_PATHS:
        start = time.monotonic()
        refused(api.client.post(path, content=body, headers={"content-type": "multipart/form-data; boundary=bound"}))
        assert time.monotonic() - start < 30
    assert api.client.get("/readyz").status_code == 200


def test_a_context_that_a_client_sends(api: Api) -> None:
    """Arguments that BentoML passes to a handler itself cannot be set by a body."""
    for name in ("ctx", "context", "args", "kwargs", "self", "request"):
        assert "not a known field" in refused(api.client.post("/generate", json={"prompt": "x", name: {}}))


def test_an_honest_file_is_served(api: Api) -> None:
    """The routes above take a valid file, so that the refusals are due to the attacks."""
    song = beat(1, rate=8000, channels=1)
    answer = api.client.post("/uploads", files={"file": ("x.wav", song)}, data={"producer_id": "advisories"})
    assert answer.status_code == 200, answer.text
