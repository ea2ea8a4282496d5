"""The command line of API keys, in the storage of STORAGE_URL.

    python -m api.auth.keys create web --scope generate --scope train
    python -m api.auth.keys create ada-laptop --scope train --producer ada
    python -m api.auth.keys list
    python -m api.auth.keys revoke 1f0c…
    python -m api.auth.keys reopen

`create` shows a key once.
"""

from __future__ import annotations

from typing import Annotated

import typer
from pydantic import ValidationError

from api.auth.keys import create, read_keys, reopen, revoke
from core.errors import Refusal
from core.principal import SCOPES
from core.settings import settings
from storage import Storage, open_storage

command = typer.Typer(help="API keys of this service, in its storage (STORAGE_URL).", no_args_is_help=True)


def _storage() -> Storage:
    return open_storage(settings().storage_url, settings().s3_endpoint_url)


@command.command("create")
def _create(
    name: Annotated[str, typer.Argument(help="Whose key it is, for the log.")],
    scope: Annotated[list[str], typer.Option(help=f"What it may do: {', '.join(SCOPES)}; may be repeated.")],
    producer: Annotated[list[str] | None, typer.Option(help="Only for this producer; may be repeated.")] = None,
    requests_per_minute: Annotated[int | None, typer.Option(help="Instead of KEY_REQUESTS_PER_MINUTE.")] = None,
    jobs_at_once: Annotated[int | None, typer.Option(help="Instead of KEY_JOBS_AT_ONCE.")] = None,
    names_visitors: Annotated[
        bool, typer.Option("--names-visitors", help="A web app's: it names each visitor's address, for the limits.")
    ] = False,
) -> None:
    """Make a key and print it, once. From the first key on every request needs one."""
    limits = {
        "requests_per_minute": requests_per_minute,
        "jobs_at_once": jobs_at_once,
        "names_visitors": names_visitors,
    }
    try:
        typer.echo(create(_storage(), name, scope, producer or None, **limits))  # type: ignore[arg-type]
    except ValidationError as error:
        raise typer.BadParameter(f"{error.errors()[0]['loc'][0]}: {error.errors()[0]['msg']}") from None
    except Refusal as refusal:
        typer.echo(f"error: {refusal.message}", err=True)
        raise typer.Exit(1) from None


@command.command("list")
def _list() -> None:
    """List the keys."""
    for key in read_keys(_storage()):
        whose = ", ".join(key.producers) if key.producers else "every producer"
        visitors = ", names visitors" if key.names_visitors else ""
        typer.echo(f"{key.id}  {key.created_at:%Y-%m-%d}  {key.name}: {', '.join(key.scopes)} for {whose}{visitors}")


@command.command("revoke")
def _revoke(key_id: Annotated[str, typer.Argument(metavar="ID", help="As `list` shows it.")]) -> None:
    """Revoke a key; every server refuses it within some seconds."""
    if not revoke(_storage(), key_id):
        typer.echo(f"error: there is no key {key_id}", err=True)
        raise typer.Exit(1)


@command.command("reopen")
def _reopen() -> None:
    """When every key is revoked: serve programs on the server's machine without a key again, after a restart."""
    try:
        reopen(_storage())
    except Refusal as refusal:
        typer.echo(f"error: {refusal.message}", err=True)
        raise typer.Exit(1) from None


if __name__ == "__main__":
    command()
