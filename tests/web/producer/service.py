"""A stand-in, in the browser, for the service of the producer's page: states that a real one takes minutes to reach."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import Error, Page, Request, Route

PREFIX = "/api/service"
PRODUCER = "ada"
TWIN = "ada:night"
Json = dict[str, Any]

JOB: Json = {
    "job_id": "one",
    "task_id": None,
    "producer_id": PRODUCER,
    "model_name": "night",
    "backend": "ace_step",
    "state": "done",
    "step": 40,
    "total_steps": 40,
    "loss": 0.7,
    "held_out_loss": 0.8,
    "steps_per_second": 2.5,
    "seconds_left": 0,
    "queue_position": None,
    "created_at": "2026-11-24T19:00:00Z",
    "updated_at": "2026-11-24T19:00:00Z",
    "error": None,
    "result": None,
    "previews": [],
    "progress": None,
    "best_step": None,
    "stopped_early": None,
}
ROW: Json = {
    "lora_id": TWIN,
    "producer_id": PRODUCER,
    "model_name": "night",
    "backend": "ace_step",
    "version": "0f1e2d3c4b5a6978",
    "rank": 16,
    "base": "starter",
    "bpm": 140,
    "recommended_scale": 1.0,
    "usable": True,
    "reason": None,
    "created_at": "2026-11-24T19:00:00Z",
    "bytes": 1_048_576,
    "sha256": "9f" * 32,
}
REPORT: Json = {
    "job_id": "one",
    "complete": True,
    "verdict": {"verdict": "weak", "sentence": "The service's sentence.", "advice": "Raise learning_rate."},
    "data": {
        "songs": 3,
        "trained_seconds": 125.0,
        "set_aside": ["/data/uploads/ada/one/cold light.wav"],
        "by_song": [
            {
                "song": number,
                "name": name,
                "seconds": 60.0,
                "segments": 4,
                "held_out": number == 1,
                "duplicate_of": None,
                "tempo": {"value": 140.0, "source": "analysis", "confidence": 0.9, "alternative": None},
                "key": None,
                "words": [],
            }
            for number, name in enumerate(["night drive", "cold light", "last train"])
        ],
        "warnings": [],
    },
    "training": {
        "total_steps": 40,
        "loss": [[1, 1.0], [20, 0.8], [40, 0.7]],
        "held_out_loss": [[1, 1.0], [40, 0.8]],
        "kept": {"keep": "best", "step": 40, "reason": ""},
    },
    "held_out": {"gain": 0.02, "low": -0.01, "high": 0.05, "by_song": [{"song": 1, "gain": 0.02}]},
    "trained_on": {"gain": 0.1, "low": 0.05, "high": 0.15, "by_song": []},
    "other_music": {"gain": -0.2, "low": -0.3, "high": -0.1},
    "resemblance": {
        "own": {"value": 0.4, "low": 0.3, "high": 0.5},
        "with_twin": {"value": 0.9, "low": 0.8, "high": 1.0},
        "without": {"value": 1.1, "low": 1.0, "high": 1.2},
        "other_music": {"value": 0.7, "low": 0.6, "high": 0.8},
    },
    "comparisons": [{"prompt": "techno, synth", "without": "without_0.mp3", "with_twin": "with_0.mp3"}],
    "own_clips": [{"name": "own_0.mp3", "song": 1, "prompt": "techno, synth"}],
    "unmeasured": [],
}


def version(number: int, **other: Any) -> Json:
    """A version whose name is the digit 16 times."""
    named = {"version": f"{number:x}" * 16, "job_id": "one", "current": False, "partial": None}
    return ROW | named | other


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
        page.route(re.compile(f".*{PREFIX}/.*"), self._answer)
        page.on("requestfailed", lambda request: self.broken.append(urlsplit(request.url).path.removeprefix(PREFIX)))

    def sent(self, method: str, path: str) -> list[Any]:
        """The bodies of the requests to a route."""
        return [body for sent, to, body in self.seen if (sent, to) == (method, path)]

    def _answer(self, route: Route) -> None:
        request, parts = route.request, urlsplit(route.request.url)
        path = parts.path.removeprefix(PREFIX)
        self.seen.append((request.method, path, _body(request)))
        if path in self.held:
            return
        if self.away:
            error = {"error": "the music service does not answer; try again later"}
            route.fulfill(status=503, json=error, headers={"x-reason": "serviceAway"})
            return
        for pattern, answer in self._routes().items():
            if found := re.fullmatch(pattern, f"{request.method} {path}"):
                status, body, kind = answer(found, parse_qs(parts.query), request)
                route.fulfill(status=status, body=body, content_type=kind)
                return
        route.fulfill(status=404, json={"error": f"there is nothing at {path}"})

    def _routes(self) -> dict[str, Callable[..., tuple[int, str | bytes, str]]]:
        return {
            "GET /jobs": lambda *_: _json({"jobs": self.jobs}),
            "GET /jobs/(.*)/events": lambda found, *_: _events(self._job(found[1])),
            "GET /jobs/(.*)/report.json": lambda *_: _json(self.report),
            "GET /jobs/([^/]*)": lambda found, *_: _json(self._job(found[1])),
            "POST /jobs/(.*)/cancel": lambda found, *_: self._cancel(found[1]),
            "DELETE /jobs/(.*)": lambda found, *_: self._delete(found[1]),
            "GET /loras": lambda *_: _json({"loras": [self._twin()] if self.versions else []}),
            "GET /loras/.*/versions": lambda *_: _json({"lora_id": TWIN, "versions": self.versions}),
            "POST /loras/.*/rollback": lambda _, __, request: self._use(request),
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

    def _cancel(self, job_id: str) -> tuple[int, str, str]:
        job = self._job(job_id)
        job["state"] = "cancelled"
        self.versions.insert(0, version(9, partial="20/40"))
        return _json(job)

    def _delete(self, job_id: str) -> tuple[int, str, str]:
        self.jobs = [job for job in self.jobs if job["job_id"] != job_id]
        return _json({"job_id": job_id, "deleted": []})

    def _use(self, request: Request) -> tuple[int, str, str]:
        wanted = _body(request)["version"]
        for row in self.versions:
            row["current"] = row["version"] == wanted
        return _json(self._twin())

    def _retrain(self) -> tuple[int, str, str]:
        self.jobs.insert(0, JOB | {"job_id": "again", "state": "queued", "queue_position": 1})
        return _json({"job_id": "again", "lora_id": TWIN, "state": "queued"})

    def _delete_twin(self) -> tuple[int, str, str]:
        self.versions.clear()
        return _json({"lora_id": TWIN, "deleted": True})

    def _twin(self) -> Json:
        current = next((row for row in self.versions if row["current"]), self.versions[0])
        return ROW | {"version": current["version"]}


STORED: Json = {
    "producer_id": PRODUCER,
    "bytes": 3_500_000,
    "limit": 10_000_000,
    "objects": 2,
    "by": {"uploads": 3_500_000},
}
ANALYSIS: Json = {
    "format": "wav",
    "sample_rate": 44_100,
    "channels": 2,
    "seconds": 61.0,
    "bpm": 140.0,
    "bpm_confidence": 0.9,
    "bpm_alternative": None,
    "bpm_alternative_confidence": None,
    "key": "A minor",
    "key_confidence": 0.7,
    "peak": 0.9,
    "loudness": -9.0,
    "clipped": 0,
    "silent": 0.0,
    "warnings": [],
    "embedded": {"title": None, "artist": None, "genre": None, "bpm": None, "key": None},
}


def _body(request: Request) -> Any:
    try:
        return request.post_data_json
    except (Error, ValueError):  # a form, which has no JSON
        return None


def _json(content: Any) -> tuple[int, str, str]:
    return 200, json.dumps(content), "application/json"


def _events(job: Json) -> tuple[int, str, str]:
    return 200, f"retry: 200\n\ndata: {json.dumps(job)}\n\n", "text/event-stream"
