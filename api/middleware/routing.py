"""Answers 404 for an unknown path and 405 for a wrong method, before the request's API key is checked."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from api.routes.table import route_match
from core.asgi.responses import error_response, method_not_allowed, no_such_path


class Routing:
    """ASGI middleware. It is outside of `Access`, so that such a request costs no read of storage.

    Args:
        sign_in: users can sign in; otherwise the routes that are for them do not exist.
    """

    def __init__(self, app: ASGIApp, sign_in: bool = False) -> None:
        self.app = app
        self.sign_in = sign_in

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        match = route_match(scope)
        methods = [method for method, route in match.methods.items() if self.sign_in or not route.sign_in]
        is_preflight = scope["method"] == "OPTIONS" and methods
        if scope["method"] in methods or is_preflight:
            await self.app(scope, receive, send)
            return
        if methods:
            answer = error_response(405, method_not_allowed(scope), {"allow": ", ".join(methods)})
        else:
            answer = error_response(404, no_such_path(scope))
        await answer(scope, receive, send)
