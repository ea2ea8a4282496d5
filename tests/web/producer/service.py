"""A stand-in for the service of the producer's page: states that a real one takes minutes to reach."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import Error, Page, Request, Route

from tests.web.producer.facts import ANALYSIS, JOB, REPORT, ROW, STORED, TWIN, Json, version

PREFIX = "/api/service"
Answer = tuple[int, str | bytes, str]


@dataclass
class Service:
    """What the stand-in has.

    Attributes:
        seen: the method and path of each request, with its body as JSON or None.
        away: requests are answered as if the service did not answer.
        held: requests to these paths are never answered.
        broken: the paths of requests that ended without an answer.
    """

    jobs: list[Json] = field(default_factory=list)
    versions: list[Json] = field(default_factory=list)
    report: Json = field(default_factory=lambda: dict(REPORT))
    seen: list[tuple[str, str, Any]] = field(default_factory=list)
    away: bool = False
    held: set[str] = field(default_factory=set)
    broken: list[str] = field(default_factory=list)

    def serve(self, page: Page) -> None:
        page.route(re.compile(f".*{PREFIX}/.*"), self._fulfil)
        page.on("requestfailed", lambda request: self.broken.append(urlsplit(request.url).path.removeprefix(PREFIX)))

    def sent(self, method: str, path: str) -> list[Any]:
        """The bodies of the requests to a route."""
        return [body for sent, to, body in self.seen if (sent, to) == (method, path)]

    def answer(self, method: str, path: str, query: str, body: Any) -> Answer:
        """The status, body and type of an answer; `body` is the request's JSON, or None."""
        for pattern, answer in self._routes().items():
            if found := re.fullmatch(pattern, f"{method} {path}"):
                return answer(found, parse_qs(query), body)
        return 404, json.dumps({"error": f"there is nothing at {path}"}), "application/json"

    def _fulfil(self, route: Route) -> None:
        request, parts = route.request, urlsplit(route.request.url)
        path = parts.path.removeprefix(PREFIX)
        self.seen.append((request.method, path, _body(request)))
        if path in self.held:
            return
        if self.away:
            error = {"error": "the music service does not answer; try again later"}
            route.fulfill(status=503, json=error, headers={"x-reason": "serviceAway"})
            return
        status, body, kind = self.answer(request.method, path, parts.query, _body(request))
        route.fulfill(status=status, body=body, content_type=kind)

    def _routes(self) -> dict[str, Callable[..., Answer]]:
        return {
            "GET /jobs": lambda *_: _json({"jobs": self.jobs}),
            "GET /jobs/(.*)/events": lambda found, *_: _events(self._job(found[1])),
            "GET /jobs/(.*)/report.json": lambda *_: _json(self.report),
            "GET /jobs/([^/]*)": lambda found, *_: _json(self._job(found[1])),
            "POST /jobs/(.*)/cancel": lambda found, *_: self._cancel(found[1]),
            "POST /jobs/(.*)/resume": lambda found, *_: self._resume(found[1]),
            "DELETE /jobs/(.*)": lambda found, *_: self._delete(found[1]),
            "GET /loras": lambda *_: _json({"loras": [self._twin()] if self.versions else []}),
            "GET /loras/.*/versions": lambda *_: _json({"lora_id": TWIN, "versions": self.versions}),
            "POST /loras/.*/rollback": lambda _, __, body: self._use(body["version"]),
            "POST /loras/.*/retrain": lambda *_: self._retrain(),
            "DELETE /loras/.*": lambda *_: self._delete_twin(),
            "POST /loras/import": lambda *_: _json(ROW | {"lora_id": "ada:other", "notes": ["It is small."]}),
            "GET /producers/.*": lambda *_: _json(STORED),
            "GET /backends": lambda *_: _json({"backends": []}),
            "POST /generate": lambda *_: _json(
                {"url": "http://127.0.0.1/data/outputs/x.wav", "output_path": "/data/outputs/x.wav"}
            ),
            "GET /data/outputs/x.wav": lambda *_: (200, b"", "audio/wav"),
            "POST /uploads": lambda *_: _json({"path": f"/data/uploads/{len(self.seen)}.wav"}),
            "GET /uploads/analysis": lambda _, query, __: _json(ANALYSIS | {"path": query["path"][0]}),
            "POST /train/submit": lambda *_: _json({"job_id": "two", "task_id": "two", "state": "queued"}),
        }

    def _job(self, job_id: str) -> Json:
        return next(job for job in self.jobs if job["job_id"] == job_id)

    def _cancel(self, job_id: str) -> Answer:
        job = self._job(job_id)
        job["state"] = "cancelled"
        self.versions.insert(0, version(9, partial="20/40"))
        return _json(job)

    def _resume(self, job_id: str) -> Answer:
        job = self._job(job_id)
        job["state"] = "training"
        return _json(job)

    def _delete(self, job_id: str) -> Answer:
        self.jobs = [job for job in self.jobs if job["job_id"] != job_id]
        return _json({"job_id": job_id, "deleted": []})

    def _use(self, wanted: str) -> Answer:
        for row in self.versions:
            row["current"] = row["version"] == wanted
        return _json(self._twin())

    def _retrain(self) -> Answer:
        self.jobs.insert(0, JOB | {"job_id": "again", "state": "queued", "queue_position": 1})
        return _json({"job_id": "again", "lora_id": TWIN, "state": "queued"})

    def _delete_twin(self) -> Answer:
        self.versions.clear()
        return _json({"lora_id": TWIN, "deleted": True})

    def _twin(self) -> Json:
        current = next((row for row in self.versions if row["current"]), self.versions[0])
        return ROW | {"version": current["version"]}


def _body(request: Request) -> Any:
    try:
        return request.post_data_json
    except (Error, ValueError):  # a form, which has no JSON
        return None


def _json(content: Any) -> Answer:
    return 200, json.dumps(content), "application/json"


def _events(job: Json) -> Answer:
    return 200, f"retry: 200\n\ndata: {json.dumps(job)}\n\n", "text/event-stream"
