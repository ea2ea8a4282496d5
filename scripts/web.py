"""Start the built Next.js app of web/, wait until it is ready, and stop it. `make web` and the tests use this."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from api.auth.keys import new_key
from core.settings import ROOT
from scripts.serving import comes_up, free_port, is_taken, kill_with_this_process, serving, stop

WEB = ROOT / "web"
_START_SECONDS = 300
_STOP_SECONDS = 10


@contextmanager
def serving_web(environment: Mapping[str, str], port: int | None = None, log: Path | None = None) -> Iterator[str]:
    """Run the app with these environment variables; yield its address once it is ready, stop it afterwards.

    Raises:
        RuntimeError: the app ended, or did not answer in time.
    """
    port = port or free_port()
    url = f"http://127.0.0.1:{port}"
    own = {"NEXT_TELEMETRY_DISABLED": "1", "WEB_ADDRESS": "127.0.0.1", "WEB_PORT": str(port)}
    with ExitStack() as stack:
        output = stack.enter_context(log.open("ab")) if log else None
        process = subprocess.Popen(
            ["node", "server.mjs"],
            cwd=WEB,
            env=os.environ | own | dict(environment),
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
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
    if is_taken(port):
        print(
            f"error: WEB_PORT: something listens on {port}, perhaps this app; end it, or set another port",
            file=sys.stderr,
        )
        return 1
    environment: dict[str, str] = {}
    with ExitStack() as stack:
        if not any(os.environ.get(name) for name in ("MUSIC_SERVICE_URL", "MODAL_GENERATE_WEB_URL")):
            folder = ROOT / "build" / "web"
            print(f"Starting a service (log: {folder / 'server.log'}) ...", flush=True)
            storage = os.environ.get("STORAGE_URL") or (ROOT / "data").as_uri()
            of_service, environment = key_for_web()
            service = stack.enter_context(serving(folder, {"STORAGE_URL": storage} | of_service))
            environment["MUSIC_SERVICE_URL"] = service.url
        url = stack.enter_context(serving_web(environment, port))
        print(f"Artists: {url}  Producers: {url}/producer  (Ctrl-C ends it)", flush=True)
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
