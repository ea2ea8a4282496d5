"""What all commands share: the service that they ask, and their options."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from producer_twin import ProducerTwin, ProducerTwinError, Retry

Json = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Producer = Annotated[str | None, typer.Option("--producer", help="Of this producer only.")]


@dataclass(frozen=True)
class Service:
    """The service that the commands ask.

    Attributes:
        url, api_key, password: of the service; None: by the environment, or the default.
        home: its folder on this machine, for the commands that run it.
    """

    url: str | None
    api_key: str | None
    password: str | None
    home: Path | None

    def client(self, retry: Retry | None = None) -> ProducerTwin:
        try:
            return ProducerTwin(self.url, self.api_key, password=self.password, retry=retry)
        except ProducerTwinError as error:
            raise typer.BadParameter(str(error)) from None


def client_of(context: typer.Context) -> ProducerTwin:
    """The client that a command uses; it is closed with the command."""
    return context.with_resource(service_of(context).client())


def service_of(context: typer.Context) -> Service:
    service = context.find_object(Service)
    assert service is not None  # the callback of all commands makes it
    return service
