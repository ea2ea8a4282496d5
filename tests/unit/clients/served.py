"""Stands in for the service: answers each route with its example, and records the requests."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from typing import Any

import httpx

from api.routes.examples import GENERATED, JOB, SUBMITTED, TRACK
from api.routes.route import Route
from api.routes.table import NO_ROUTE, TABLE

FIELD = re.compile(r'name="(\w+)"')
IDEMPOTENCY_KEY = "idempotency-key"
FILE = b"the content of a file"
FIGURES: dict[str, Any] = {
    "bpm": 140.21,
    "bpm_confidence": 0.93,
    "bpm_off": 0.0015,
    "key": "A minor",
    "key_confidence": 0.71,
    "key_matches": True,
    "loudness": -12.4,
    "peak": -1.0,
    "clipped": 0,
    "twin_distance": 1.37,
    "nearest_segment": {"segment": 3, "similarity": 0.412, "memorised": False},
}
TAKES: dict[str, Any] = {
    "backend": "ace_step",
    "sample_rate": 48_000,
    "duration_seconds": 30.0,
    "draws": 4,
    "failed": [],
    "takes": [
        {
            "seed": 9,
            "url": "/data/outputs/twins/ada/track.wav",
            "output_path": "/data/outputs/twins/ada/track.wav",
            "figures": FIGURES,
            "accepted": None,
        }
    ],
}


class ServedExamples:
    """A handler for `httpx.MockTransport`.

    Attributes:
        fields: of each route that was asked for, the names of the parameters, body fields and headers that were sent.
    """

    def __init__(self) -> None:
        self.fields: defaultdict[Route, set[str]] = defaultdict(set)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        route = TABLE.find(request.method, request.url.path).route
        assert route is not NO_ROUTE, f"there is no {request.method} {request.url.path}"
        sent = self.fields[route]
        sent |= set(request.url.params)
        sent |= {each.name for each in route.parameters if each.location == "header" and each.name in request.headers}
        sent |= {IDEMPOTENCY_KEY} & set(request.headers)
        if route.body and request.content:
            sent |= set(json.loads(request.content))
        if route.form:
            sent |= set(FIELD.findall(request.read().decode(errors="replace")))
        return _answer(route, request)


def _answer(route: Route, request: httpx.Request) -> httpx.Response:
    if route.path in ("/generate", "/generate/form") and b'"takes"' in request.content:
        return httpx.Response(200, json=TAKES)
    if route.path in ("/generate", "/generate/form"):
        return httpx.Response(200, json={"url": GENERATED["output_path"], **GENERATED})
    if route.path == "/tracks/{track_id}/events":
        return httpx.Response(
            200, text=event("1", SUBMITTED) + event("2", SUBMITTED | {"state": "done", "track": TRACK})
        )
    if route.path.endswith("/events"):
        return httpx.Response(200, text=event("1", JOB) + event("2", JOB | {"state": "done"}))
    if route.answer:
        return httpx.Response(200, json=route.answer_example)
    return httpx.Response(200, content=b"{}" if route.path == "/docs.json" else FILE)


def event(id: str, record: dict[str, Any]) -> str:
    return f"id: {id}\ndata: {json.dumps(record)}\n\n"
