"""Start a server on a free port, wait until it is ready, and stop it. The demo and the tests use this."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
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
    """A port below the range of outgoing connections, so that none takes it before the server has started."""
    while True:
        port = random.randint(10_000, 19_999)  # nosec B311 - no secret
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def tiny_checkpoints(folder: Path) -> dict[str, str]:
    """Make tiny checkpoints of the real architectures in `folder`. Returns the environment variables to serve them."""
    from runners import TABLE

    for row in TABLE:
        row.load_tiny()(folder / row.name)
    return {row.checkpoint.upper(): str(folder / row.name) for row in TABLE}


@contextmanager
def serving(
    folder: Path,
    environment: Mapping[str, str] | None = None,
    what: Sequence[str] = ("service:ProducerTwin",),
    cwd: Path = ROOT,
    stop_seconds: float = _STOP_SECONDS,
) -> Iterator[Server]:
    """Run `bentoml serve` with its data, model store and log in `folder`; yield once it is ready, stop it afterwards.

    If this process is killed, the server and its workers are killed too.

    Args:
        environment: variables beside those of this process.
        what: arguments of `bentoml serve`: an import path or a Bento's tag, and options.
        cwd: the working directory.
        stop_seconds: after which a server that is to end is killed.

    Raises:
        RuntimeError: the server ended or was not ready in time; the message has the end of its log.
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
    release = kill_with_this_process(process)
    server = Server(f"http://127.0.0.1:{port}", log, process)
    try:
        if not comes_up(process, f"{server.url}/readyz", _START_SECONDS):
            tail = log.read_text(errors="replace")[-4000:]
            raise RuntimeError(f"the server was not ready within {_START_SECONDS} s:\n{tail}")
        yield server
    finally:
        stop(process, stop_seconds)
        release()


def kill_with_this_process(process: subprocess.Popen[bytes]) -> Callable[[], None]:
    """Kill the process group that `process` leads once this process ends, even if it is killed itself.

    Returns:
        A function that calls it off: call it once `process` has ended, or another process may get its number.
    """
    # A shell waits for a line on a pipe that only this process holds, and kills the group if the pipe closes without.
    script = 'read -r _ || kill -s KILL -- "-$1"'
    guard = subprocess.Popen(
        ["/bin/sh", "-c", script, "sh", str(process.pid)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )

    def release() -> None:
        guard.communicate(b"\n")

    return release


def comes_up(process: subprocess.Popen[bytes], url: str, seconds: float) -> bool:
    """Wait until `url` answers 200. Returns False if the process ends first or the time is up."""
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
    """Ask a process to end, and kill its process group if it has not after `seconds`. It must lead the group."""
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
