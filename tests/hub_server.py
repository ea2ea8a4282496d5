"""A server that speaks as much of the Hugging Face hub's protocol as downloads need."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from core.settings import ROOT

COMMIT = "a" * 40
Repositories = Mapping[str, Mapping[str, bytes]]  # files by name, by hub id


def files_of(folder: Path) -> dict[str, bytes]:
    """The files of a repository with the contents of `folder`."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@contextmanager
def hub(repositories: Repositories) -> Iterator[str]:
    """Serve the repositories, each at `COMMIT` under the revisions `v1` and `main`. Yields the endpoint's address."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            path = urlsplit(self.path).path
            for name, files in repositories.items():
                if path in {f"/api/models/{name}/revision/{revision}" for revision in ("v1", "main", COMMIT)} | {
                    f"/api/models/{name}"
                }:
                    siblings = [
                        {"rfilename": file, "size": len(data), "blobId": hashlib.sha256(data).hexdigest()}
                        for file, data in files.items()
                    ]
                    return self._json({"id": name, "sha": COMMIT, "siblings": siblings})
                if path == f"/api/models/{name}/tree/{COMMIT}":
                    return self._json(
                        [{"type": "file", "path": f, "size": len(d), "oid": COMMIT} for f, d in files.items()]
                    )
                if path.startswith(prefix := f"/{name}/resolve/{COMMIT}/"):
                    data = files[path.removeprefix(prefix)]
                    etag = hashlib.sha256(data).hexdigest()
                    return self._answer(200, data, {"etag": f'"{etag}"', "x-repo-commit": COMMIT})
            return self._answer(404, b"{}", {"x-error-code": "RepoNotFound"})

        def _json(self, body: object) -> None:
            self._answer(200, json.dumps(body).encode(), {"content-type": "application/json"})

        def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in ({"content-length": str(len(body))} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def run_with_hub(endpoint: str, home: Path, code: str) -> subprocess.CompletedProcess[str]:
    """Run Python code in a process of its own, since the hub's client reads its environment once."""
    environment = os.environ | {"HF_ENDPOINT": endpoint, "HF_HOME": str(home), "HF_HUB_DISABLE_TELEMETRY": "1"}
    environment["XDG_CACHE_HOME"] = str(home / "cache")
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
