"""The route table: every route of the front service, and how a request finds its own.

Middleware, the OpenAPI document, metrics and the web app's list of routes read it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from starlette.types import Scope

from api.routes import backends, datasets, jobs, operations, producers, tracks, training, twins, uploads
from api.routes.route import ADMIN, Route

ROUTES: tuple[Route, ...] = (
    *uploads.ROUTES,
    *training.ROUTES,
    *jobs.ROUTES,
    *datasets.ROUTES,
    *tracks.ROUTES,
    *backends.ROUTES,
    *twins.ROUTES,
    *producers.ROUTES,
    *operations.ROUTES,
)
# What a request has that no route is for.
NO_ROUTE = Route("GET", "other", "", "", ADMIN)

_KEY = "producer_twin.found"
_PARAMETER = re.compile(r"\\{(\w+)\\}")  # as re.escape writes it


@dataclass(frozen=True)
class Found:
    """What the table has for a request.

    Attributes:
        route: `NO_ROUTE` where the path is unknown or has no such method.
        parameters: of the path.
        methods: all that the path has; none where the path is unknown.
    """

    route: Route = NO_ROUTE
    parameters: Mapping[str, str] = field(default_factory=dict)
    methods: tuple[str, ...] = ()


class Table:
    """Finds routes by method and path. A path without parameters goes before a template that it would fit."""

    def __init__(self, routes: Iterable[Route]) -> None:
        paths: defaultdict[str, dict[str, Route]] = defaultdict(dict)
        for route in routes:
            paths[route.path][route.method] = route
            if route.method == "GET":
                paths[route.path]["HEAD"] = route
        self._exact = {path: methods for path, methods in paths.items() if "{" not in path}
        # By the first segment, so that a request is compared with few.
        self._templates: defaultdict[str, list[tuple[re.Pattern[str], dict[str, Route]]]] = defaultdict(list)
        for path, methods in paths.items():
            if "{" in path:
                self._templates[_first(path)].append((_pattern(path), methods))

    def find(self, method: str, path: str) -> Found:
        if methods := self._exact.get(path):
            return Found(methods.get(method, NO_ROUTE), {}, tuple(methods))
        for pattern, methods in self._templates.get(_first(path), ()):
            if match := pattern.fullmatch(path):
                return Found(methods.get(method, NO_ROUTE), match.groupdict(), tuple(methods))
        return Found()


def found(scope: Scope) -> Found:
    """What the table has for this request, which is looked up once: the scope keeps it."""
    known: Found | None = scope.get(_KEY)
    if known is None:
        known = scope[_KEY] = TABLE.find(scope["method"], scope["path"])
    return known


def route_of(scope: Scope) -> Route:
    """The request's route, or `NO_ROUTE`."""
    return found(scope).route


def _first(path: str) -> str:
    return path.split("/", 2)[1] if path.startswith("/") else ""


def _pattern(path: str) -> re.Pattern[str]:
    def of(parameter: re.Match[str]) -> str:
        return f"(?P<{parameter[1]}>{'.+' if parameter[1] == 'path' else '[^/]+'})"

    return re.compile(_PARAMETER.sub(of, re.escape(path)), re.DOTALL)


TABLE = Table(ROUTES)
