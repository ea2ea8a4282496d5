"""The commands, and how their errors are answered."""

from __future__ import annotations

import io
import sys
from json import JSONDecodeError
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from producer_twin import ApiError, JobFailed, ProducerTwinError, TrackFailed, Unreachable
from producer_twin._connection import (
    API_KEY_VARIABLE,
    DEFAULT_URL,
    PASSWORD_VARIABLE,
    URL_VARIABLE,
    package_version,
)
from producer_twin.cli import doctor, edit, generate, jobs, local, tracks, train, twins
from producer_twin.cli.context import Service
from producer_twin.cli.output import print_line, say

EXIT_REFUSED, EXIT_USAGE, EXIT_UNAVAILABLE, EXIT_FORBIDDEN, EXIT_FAILED = 1, 2, 3, 4, 5
_UNAVAILABLE_STATUSES = frozenset({429, 502, 503, 504})
_EXIT_CODES = (
    "Exit codes: 0 done; 1 the service refused the request, or it failed; 2 wrong usage; 3 the service cannot be "
    "reached, or is not available; 4 the API key or the password is missing, wrong or not enough; 5 the training "
    "or the submitted track failed or was cancelled; 130 interrupted."
)

app = typer.Typer(
    help="Train twins of producers' styles and generate music with them, on a Producer Twin service.",
    epilog=_EXIT_CODES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command()(train.train)
app.command()(generate.generate)
app.command()(edit.edit)
app.add_typer(tracks.app, name="tracks")
app.add_typer(twins.app, name="twins")
app.add_typer(jobs.app, name="jobs")
app.command(context_settings=local.PASSED_ON)(local.keys)
app.command()(doctor.doctor)
app.command()(local.serve)


def _print_version(wanted: bool) -> None:
    if wanted:
        print_line(package_version())
        raise typer.Exit


@app.callback()
def _common(
    context: typer.Context,
    url: Annotated[
        str | None, typer.Option(envvar=URL_VARIABLE, help=f"Where the service is; {DEFAULT_URL} if left out.")
    ] = None,
    api_key: Annotated[str | None, typer.Option(envvar=API_KEY_VARIABLE, help="An API key.")] = None,
    password: Annotated[
        str | None, typer.Option(envvar=PASSWORD_VARIABLE, help="The password of routes that write.")
    ] = None,
    home: Annotated[
        Path | None,
        typer.Option(envvar="PRODUCER_TWIN_HOME", help="keys, serve: the service's folder; this one if left out."),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    context.obj = Service(url, api_key, password, home)


def run() -> None:
    """Run the command of `sys.argv`, and exit with its code."""
    # A file's name may have characters that the terminal's encoding lacks.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        app(prog_name="producer-twin")
    except (ProducerTwinError, OSError) as error:
        say(_sentence(error), "error:", "red")
        sys.exit(exit_code(error))
    except (JSONDecodeError, ValidationError) as error:
        say(f"the answer is not understood; is --url that of a service of this version? {error}", "error:", "red")
        sys.exit(EXIT_REFUSED)


def _sentence(error: ProducerTwinError | OSError) -> str:
    match error:
        case ApiError():
            return error.message
        case Unreachable():
            return f"{error}; is the service running, and is --url right?"
    return str(error)


def exit_code(error: ProducerTwinError | OSError) -> int:
    match error:
        case JobFailed() | TrackFailed():
            return EXIT_FAILED
        case Unreachable():
            return EXIT_UNAVAILABLE
        case ApiError(status=401 | 403):
            return EXIT_FORBIDDEN
        case ApiError(status=status) if status in _UNAVAILABLE_STATUSES:
            return EXIT_UNAVAILABLE
    return EXIT_REFUSED
