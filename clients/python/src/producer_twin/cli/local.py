"""`producer-twin serve` and `keys`, which run the service's own programs in its folder on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from producer_twin.cli.context import service_of

# The arguments are the other program's, `--help` too.
PASSED_ON = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}


def keys(context: typer.Context) -> None:
    """Make, list and revoke API keys of a service on this machine: create, list, revoke, reopen."""
    raise typer.Exit(_run(service_of(context).home, "-m", "api.auth.keys", *context.args))


def serve(
    context: typer.Context,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port to listen on.")] = 3000,
) -> None:
    """Run the service of a folder on this machine."""
    listen = ("--host", host, "--port", str(port))
    raise typer.Exit(_run(service_of(context).home, "-m", "bentoml", "serve", "service:ProducerTwin", *listen))


def _run(home: Path | None, *arguments: str) -> int:
    """Run Python in the service's folder, with its packages. Returns the exit code."""
    folder = home or _found()
    if folder is None or not _is_service(folder):
        raise typer.BadParameter(
            f"{folder or Path.cwd()} has no service; run this in its folder, or name that", param_hint="--home"
        )
    own = folder / ".venv" / "bin" / "python"
    with subprocess.Popen([str(own if own.exists() else sys.executable), *arguments], cwd=folder) as process:
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:  # the terminal interrupts the program as well, which then ends by itself
                continue


def _found() -> Path | None:
    """The nearest folder with a service, from this one upwards."""
    here = Path(os.getcwd())
    return next((folder for folder in (here, *here.parents) if _is_service(folder)), None)


def _is_service(folder: Path) -> bool:
    return (folder / "service.py").is_file() and (folder / "api" / "auth").is_dir()
