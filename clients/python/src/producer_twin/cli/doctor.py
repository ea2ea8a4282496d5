"""`producer-twin doctor`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Literal

import httpx
import typer

from producer_twin import ApiError, ProducerTwin, ProducerTwinError, Retry, Unreachable
from producer_twin._connection import base_url, package_version, shown
from producer_twin.cli.context import Json, service_of
from producer_twin.cli.output import print_json, print_table

Result = Literal["ok", "warning", "failed"]


@dataclass(frozen=True)
class Check:
    """One finding: its subject, whether that is well, and the reason or the remedy."""

    name: str
    result: Result
    detail: str


def doctor(context: typer.Context, json: Json = False) -> None:
    """Check the service: whether it is reached, can make tracks and trainings, and what the API key may do."""
    service = service_of(context)
    client = context.with_resource(service.client(Retry(attempts=1)))
    checks = list(_checks(client, shown(httpx.URL(base_url(service.url)))))
    failed = [check for check in checks if check.result == "failed"]
    if json:
        print_json({"ok": not failed, "checks": [asdict(check) for check in checks]})
    else:
        print_table(("check", "result", "detail"), [(check.name, check.result, check.detail) for check in checks])
    if any(check.name == "reached" for check in failed):
        raise typer.Exit(3)
    raise typer.Exit(1 if failed else 0)


def _checks(client: ProducerTwin, url: str) -> Iterator[Check]:
    try:
        client.service.live()
    except Unreachable as error:
        yield Check("reached", "failed", f"{error}; is the service running, and is --url right?")
        return
    except ApiError as error:
        yield Check("reached", "failed", f"{url} answers {error}")
        return
    yield Check("reached", "ok", url)
    yield _tried("tracks", client.service.ready, "the default backend can serve")
    try:
        backends = client.service.backends()
    except ProducerTwinError as error:
        yield Check("API key", "failed", str(error))
        return
    for backend in backends:
        served = f"{backend.checkpoint}, {backend.licence}"
        yield Check(
            backend.name,
            "ok" if backend.ready else "failed" if backend.default else "warning",
            served if backend.ready else f"{served}: {backend.reason}",
        )
    # A request that finds nothing shows whether the key may make it.
    yield _scope("generate", lambda: client.tracks.queue("doctor"))
    yield _scope("train", lambda: client.jobs.list(producer_id="doctor"))
    yield _scope("admin", client.service.metrics)
    yield _tried("description", client.service.openapi, f"the client is {package_version()}")


def _tried(name: str, ask: Callable[[], object], detail: str) -> Check:
    try:
        ask()
    except ProducerTwinError as error:
        return Check(name, "failed", str(error))
    return Check(name, "ok", detail)


def _scope(name: str, ask: Callable[[], object]) -> Check:
    """Whether the API key has the scope. One that it lacks is a warning, as it may not be needed."""
    try:
        ask()
    except ApiError as error:
        if error.status in (401, 403):
            return Check(f"scope {name}", "warning", error.message)
        if error.status != 404:
            return Check(f"scope {name}", "failed", str(error))
    except Unreachable as error:
        return Check(f"scope {name}", "failed", str(error))
    return Check(f"scope {name}", "ok", "the API key, or its absence, allows it")
