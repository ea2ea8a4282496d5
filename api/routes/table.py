"""The route table: every route of the front service, and how a request is matched to its route.

Middleware, the OpenAPI document, metrics and the web app's list of routes read it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from starlette.types import Scope

from api.acestep import routes as acestep
from api.routes import (
    backends,
    datasets,
    jobs,
    library,
    operations,
    producers,
    submissions,
    tracks,
    training,
    twins,
    uploads,
    webhooks,
)
from api.routes.route import ADMIN, Route

ROUTES: tuple[Route, ...] = (
    *uploads.ROUTES,
    *training.ROUTES,
    *jobs.ROUTES,
    *datasets.ROUTES,
    *tracks.ROUTES,
    *submissions.ROUTES,
    *library.ROUTES,
    *backends.ROUTES,
    *twins.ROUTES,
    *producers.ROUTES,
    *webhooks.ROUTES,
    *operations.ROUTES,
    *acestep.ROUTES,
)
# Stands in for the route of a request that matches none.
NO_ROUTE = Route("GET", "other", "", "", ADMIN)

_SCOPE_KEY = "producer_twin.route_match"
_PARAMETER = re.compile(r"\\{(\w+)\\}")  # as re.escape writes it


@dataclass(frozen=True)
class RouteMatch:
    """The route of a request.

    Attributes:
        route: `NO_ROUTE` if the path is unknown or has no such method.
        path: the values of the path's parameters.
        methods: the routes of the path by method; empty if the path is unknown.
    """

    route: Route = NO_ROUTE
    path: Mapping[str, str] = field(default_factory=dict)
    methods: Mapping[str, Route] = field(default_factory=dict)


class Table:
    """Matches requests to routes by method and path. A path without parameters goes before a template that it fits."""

    def __init__(self, routes: Iterable[Route]) -> None:
        paths: defaultdict[str, dict[str, Route]] = defaultdict(dict)
        for route in routes:
            paths[route.path][route.method] = route
            if route.method == "GET":
                paths[route.path]["HEAD"] = route
        self._exact = {path: methods for path, methods in paths.items() if "{" not in path}
        # By the first segment, so that a request is compared with few templates.
        self._templates: defaultdict[str, list[tuple[re.Pattern[str], dict[str, Route]]]] = defaultdict(list)
        for path, methods in paths.items():
            if "{" in path:
                self._templates[_first(path)].append((_pattern(path), methods))

    def find(self, method: str, path: str) -> RouteMatch:
        if methods := self._exact.get(path):
            return RouteMatch(methods.get(method, NO_ROUTE), {}, methods)
        for pattern, methods in self._templates.get(_first(path), ()):
            if match := pattern.fullmatch(path):
                return RouteMatch(methods.get(method, NO_ROUTE), match.groupdict(), methods)
        return RouteMatch()


def route_match(scope: Scope) -> RouteMatch:
    """The route of this request. It is looked up once, and kept in the scope."""
    if _SCOPE_KEY not in scope:
        scope[_SCOPE_KEY] = TABLE.find(scope["method"], scope["path"])
    return scope[_SCOPE_KEY]


def route_of(scope: Scope) -> Route:
    """The request's route, or `NO_ROUTE`."""
    return route_match(scope).route


def _first(path: str) -> str:
    return path.split("/", 2)[1] if path.startswith("/") else ""


def _pattern(path: str) -> re.Pattern[str]:
    def of(parameter: re.Match[str]) -> str:
        return f"(?P<{parameter[1]}>{'.+' if parameter[1] == 'path' else '[^/]+'})"

    return re.compile(_PARAMETER.sub(of, re.escape(path)), re.DOTALL)


TABLE = Table(ROUTES)
