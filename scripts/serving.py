"""A server of one's own: started on a free port, waited for, stopped. The demo and the tests use it."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from core.settings import ROOT

_START_SECONDS = 600
_STOP_SECONDS = 60


@dataclass(frozen=True)
class Server:
    url: str
    log: Path
    process: subprocess.Popen[bytes]


def free_port() -> int:
    """One from below those that the system gives to connections: nobody is given it before a server has started."""
    while True:
        port = random.randint(10_000, 19_999)  # nosec B311 - no secret
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def tiny_checkpoints(folder: Path) -> dict[str, str]:
    """Make tiny checkpoints of the true architectures there. Returns the environment that serves them."""
    from runners import TABLE

    for row in TABLE:
        row.load_tiny()(folder / row.name)
    return {row.checkpoint.upper(): str(folder / row.name) for row in TABLE}


def is_taken(port: int) -> bool:
    """Whether somebody listens on it on this machine."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def serving(
    folder: Path,
    environment: Mapping[str, str] | None = None,
    what: Sequence[str] = ("service:ProducerTwin",),
    cwd: Path = ROOT,
) -> Iterator[Server]:
    """`bentoml serve` with its data, its model store and its log in `folder`, ready to serve; stopped at the end.

    Args:
        what: what is served: an import path or a Bento's tag, and options; nothing for plain `bentoml serve`.

    Raises:
        RuntimeError: it ended or was not ready in time; with the end of its log.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    own = {
        "STORAGE_URL": (folder / "data").resolve().as_uri(),
        "BENTOML_HOME": str((folder / "bentoml").resolve()),
        "BENTOML_DO_NOT_TRACK": "True",
        "OMP_WAIT_POLICY": "PASSIVE",
    }
    log = folder / "server.log"
    command = [str(Path(sys.executable).parent / "bentoml"), "serve", *what, "--host", "127.0.0.1", "--port", str(port)]
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env=os.environ | own | dict(environment or {}),
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    server = Server(f"http://127.0.0.1:{port}", log, process)
    try:
        if not comes_up(process, f"{server.url}/readyz", _START_SECONDS):
            tail = log.read_text(errors="replace")[-4000:]
            raise RuntimeError(f"the server was not ready within {_START_SECONDS} s:\n{tail}")
        yield server
    finally:
        stop(process, _STOP_SECONDS)


def comes_up(process: subprocess.Popen[bytes], url: str, seconds: float) -> bool:
    """Wait until `url` answers 200: not, if the process ends before or the time is up."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        try:
            if httpx.get(url, timeout=5, trust_env=False).status_code == 200:
                return True
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    return False


def stop(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Ask a process that leads a session of its own to end; after so long kill it with all that it started."""
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
