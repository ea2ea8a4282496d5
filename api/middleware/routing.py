"""A path that is unknown is a 404, and a method that it has not a 405, for everybody: before a key is asked for."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from api.routes.table import NO_ROUTE, found
from core.asgi.responses import error_response, method_not_allowed, no_such_path


class Routing:
    """ASGI middleware, outside of all that costs a read of storage."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        known = found(scope)
        is_preflight = scope["method"] == "OPTIONS" and known.methods
        if known.route is not NO_ROUTE or is_preflight:
            await self.app(scope, receive, send)
            return
        if known.methods:
            answer = error_response(405, method_not_allowed(scope), {"allow": ", ".join(known.methods)})
        else:
            answer = error_response(404, no_such_path(scope))
        await answer(scope, receive, send)
