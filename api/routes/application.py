"""The ASGI application that BentoML mounts: it answers the routes of the table that have a handler."""

from __future__ import annotations

from collections.abc import Callable

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send

from api.routes.handler import Front
from api.routes.inputs import parsed_inputs
from api.routes.table import RouteMatch, route_match
from core.asgi.responses import answer_or_error


def application(front: Callable[[], Front]) -> Starlette:
    """The application over the front service of this process."""
    return Starlette(routes=[_TableRoute(front)])


class _TableRoute(BaseRoute):
    """Every route of the table that has a handler. BentoML serves its own routes where this does not match."""

    def __init__(self, front: Callable[[], Front]) -> None:
        self.front = front

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        is_ours = scope["type"] == "http" and route_match(scope).route.handler is not None
        return Match.FULL if is_ours else Match.NONE, {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await answer_or_error(_answer(self.front(), route_match(scope), Request(scope, receive, send)))
        await response(scope, receive, send)


async def _answer(front: Front, match: RouteMatch, request: Request) -> Response:
    """Raises Refusal."""
    assert match.route.handler is not None
    async with parsed_inputs(front, match.route, match.path, request) as inputs:
        answer = await match.route.handler(front, inputs)
    return answer if isinstance(answer, Response) else JSONResponse(answer.model_dump(mode="json"))
