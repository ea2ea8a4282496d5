"""The stand-in for the service as a server, for a browser in whose requests Playwright cannot step in."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from scripts.serving import free_port
from tests.api import wait_until
from tests.web.producer.facts import JOB, RUNNING, Json, version
from tests.web.producer.service import Service

HELD_SECONDS = 0.05
ANY = ["GET", "POST", "PUT", "PATCH", "DELETE"]


def states() -> dict[str, tuple[list[Json], list[Json]]]:
    """The jobs and the versions that the producer may have, by name."""
    current = version(1, current=True)
    return {
        "empty": ([], []),
        "running": ([dict(RUNNING)], [current]),
        "trained": ([dict(JOB)], [version(2, partial="20/40"), current]),
    }


@contextmanager
def served_stand_in() -> Iterator[str]:
    """Serve the stand-in on loopback inside the block; yield its address.

    `PUT /stand-in/{state}` begins again with a state of `states`; requests to the path `?held=` are never answered.
    `GET /stand-in` says which requests came since (`seen`), and which of them were given up (`broken`).
    """
    service = Service()

    async def begin(request: Request) -> Response:
        nonlocal service
        jobs, versions = states()[request.path_params["state"]]
        service = Service(jobs=jobs, versions=versions, held={request.query_params.get("held", "")})
        return Response(status_code=204)

    async def told(_: Request) -> Response:
        seen = [f"{method} {path}" for method, path, _ in service.seen]
        return JSONResponse({"seen": seen, "broken": service.broken})

    async def answer(request: Request) -> Response:
        asked, path, body = service, request.url.path, await _body(request)
        asked.seen.append((request.method, path, body))
        while path in asked.held:
            if await request.is_disconnected():
                asked.broken.append(path)
                return Response(status_code=499)
            await asyncio.sleep(HELD_SECONDS)
        status, content, kind = asked.answer(request.method, path, request.url.query, body)
        return Response(content, status, media_type=kind)

    routes = [
        Route("/stand-in/{state}", begin, methods=["PUT"]),
        Route("/stand-in", told),
        Route("/{path:path}", answer, methods=ANY),
    ]
    server = uvicorn.Server(uvicorn.Config(Starlette(routes=routes), port=free_port(), log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_until(lambda: server.started)
    try:
        yield f"http://127.0.0.1:{server.config.port}"
    finally:
        server.should_exit = server.force_exit = True
        thread.join()


async def _body(request: Request) -> Any:
    content = await request.body()
    return json.loads(content) if request.headers.get("content-type") == "application/json" and content else None
