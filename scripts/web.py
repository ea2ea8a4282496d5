"""Start the built Next.js app of web/, wait until it is ready, and stop it. `make web` and the tests use this."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from api.auth.keys import new_key
from core.settings import ROOT
from scripts.serving import comes_up, kill_with_this_process, serving, stop

WEB = ROOT / "web"
_ADDRESS = "127.0.0.1"
_START_SECONDS = 300
_STOP_SECONDS = 5


def bound(port: int = 0) -> socket.socket:
    """A socket on the port of this machine, which no other process can take then; 0 stands for any free port.

    Raises:
        OSError: the port is taken.
    """
    found = socket.socket()
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # ports of closed connections are free
        found.bind((_ADDRESS, port))
    except OSError:
        found.close()
        raise
    return found


@contextmanager
def serving_web(
    environment: Mapping[str, str], on: socket.socket | None = None, log: Path | None = None
) -> Iterator[str]:
    """Run the app with these environment variables; yield its address once it is ready, stop it afterwards.

    Args:
        on: the socket where it listens, which is closed here; None stands for any free port.

    Raises:
        RuntimeError: the app ended, or did not answer in time.
    """
    with ExitStack() as stack:
        output = stack.enter_context(log.open("ab")) if log else None
        with on or bound() as listening:
            port, descriptor = listening.getsockname()[1], listening.fileno()
            own = {"NEXT_TELEMETRY_DISABLED": "1", "WEB_ADDRESS": _ADDRESS, "WEB_PORT": str(port)}
            process = subprocess.Popen(
                ["node", "server.mjs"],
                cwd=WEB,
                env=os.environ | own | {"WEB_SOCKET": str(descriptor)} | dict(environment),
                stdout=output,
                stderr=output,
                pass_fds=(descriptor,),
                start_new_session=True,
            )
        url = f"http://{_ADDRESS}:{port}"
        stack.callback(kill_with_this_process(process))
        stack.callback(stop, process, _STOP_SECONDS)
        if not comes_up(process, f"{url}/icon.svg", _START_SECONDS):
            raise RuntimeError(f"the app did not start at {url} (was it built? npm run build, in web/)")
        yield url


def key_for_web() -> tuple[dict[str, str], dict[str, str]]:
    """Make an API key that is stored nowhere. Returns the environments of the service and of the app that share it."""
    key, record = new_key("web app", ["generate", "train"], names_visitors=True)
    return {"GUEST_KEY": record.model_dump_json()}, {"MUSIC_SERVICE_API_KEY": key}


def main() -> int:
    """Serve the app on WEB_PORT, for MUSIC_SERVICE_URL or for a service that is started with it."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    port = int(os.environ.get("WEB_PORT") or 3001)
    try:
        listening = bound(port)
    except OSError as error:
        print(
            f"error: WEB_PORT: {port} cannot be used ({error.strerror}); end what listens there, such as this app, "
            f"or set another port: WEB_PORT={port + 1} make web",
            file=sys.stderr,
        )
        return 1
    with listening, ExitStack() as stack:
        try:
            _serve(stack, listening)
        except KeyboardInterrupt:
            print()
    return 0


def _serve(stack: ExitStack, listening: socket.socket) -> None:
    """Start the app, and a service for it unless there is one; print their addresses, and wait."""
    environment: dict[str, str] = {}
    service_url = os.environ.get("MUSIC_SERVICE_URL") or os.environ.get("MODAL_GENERATE_WEB_URL")
    if not service_url:
        folder = ROOT / "build" / "web"
        print(f"Starting a service (log: {folder / 'server.log'}) ...", flush=True)
        storage = os.environ.get("STORAGE_URL") or (ROOT / "data").as_uri()
        of_service, environment = key_for_web()
        own = {"STORAGE_URL": storage, "STOP_SECONDS": str(_STOP_SECONDS / 2)}
        service = stack.enter_context(serving(folder, own | of_service, stop_seconds=_STOP_SECONDS))
        service_url = environment["MUSIC_SERVICE_URL"] = service.url
    url = stack.enter_context(serving_web(environment, listening))
    print(f"Artists: {url}  Producers: {url}/producer  Service: {service_url}  (Ctrl-C ends it)", flush=True)
    while True:
        time.sleep(3600)


if __name__ == "__main__":
    sys.exit(main())
