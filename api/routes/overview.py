"""How the service is, for people (`/status`) and for Prometheus (what only the front can know of all processes)."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from api.capacity.thread_pools import to_record_thread
from contract import STATES, TERMINAL, BackendAnswer
from core import principal
from core.errors import Refusal
from storage import records

if TYPE_CHECKING:
    from api.routes.inputs import Front
    from training.jobs.store import JobRecord

# Jobs are read from storage one by one: no more often than this, however many look.
FRESH = 10.0
_SHOWN = 20

_STYLE = """body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem}
table{border-collapse:collapse;width:100%;margin:.5rem 0 1.5rem}th,td{text-align:left;padding:.3rem .6rem;
border-bottom:1px solid #8884}.ok{color:#17803d}.no{color:#b91c1c}:root{color-scheme:light dark}"""


@dataclass(frozen=True)
class State:
    """`jobs` None where storage does not answer, with the `reason`. `damaged` counts objects by their folder."""

    backends: list[BackendAnswer]
    jobs: list[JobRecord] | None
    reason: str | None
    damaged: Counter[str]


class Overview:
    def __init__(self) -> None:
        self._started = datetime.now(UTC)
        self._lock = asyncio.Lock()
        self._taken = 0.0
        self._jobs: list[JobRecord] | None = None
        self._reason: str | None = None
        self._damaged: Counter[str] = Counter()

    async def state(self, front: Front) -> State:
        """At most FRESH seconds old."""
        async with self._lock:
            if time.monotonic() - self._taken > FRESH or not self._taken:
                try:
                    self._jobs, self._reason = await to_record_thread(lambda: list(front.jobs.all())), None
                    self._damaged = await to_record_thread(_damaged, front)
                except Refusal as refusal:
                    self._jobs, self._reason = None, refusal.message
                self._taken = time.monotonic()
        return State(await front.runners.describe(), self._jobs, self._reason, self._damaged)

    async def metrics(self, front: Front) -> str:
        """In Prometheus' text format."""
        state = await self.state(front)
        lines = ["# TYPE producer_twin_backend_ready gauge"]
        lines += [f'producer_twin_backend_ready{{backend="{row.name}"}} {int(row.ready)}' for row in state.backends]
        lines += ["# TYPE producer_twin_storage_up gauge", f"producer_twin_storage_up {int(state.jobs is not None)}"]
        if state.jobs is not None:
            counted = Counter(record.state for record in state.jobs)
            lines.append("# TYPE producer_twin_jobs gauge")
            lines += [f'producer_twin_jobs{{state="{name}"}} {counted[name]}' for name in STATES]
            lines.append("# TYPE producer_twin_damaged_objects gauge")
            counts = sorted(({"jobs": 0} | state.damaged).items())
            lines += [f'producer_twin_damaged_objects{{kind="{kind}"}} {count}' for kind, count in counts]
        return "\n".join(lines) + "\n"

    async def page(self, front: Front, request: Request) -> Response:
        """`GET /status`: what an operator looks at first. Of jobs, those that the API key is for."""
        state = await self.state(front)
        backends = [
            (row.name, _mark(row.ready, "ready", row.reason or "not ready"), escape(row.checkpoint))
            for row in state.backends
        ]
        parts = [
            "<h1>Producer Twin</h1>",
            f"<p>Storage: {_mark(state.jobs is not None, 'answers', state.reason or '')}. "
            f"This server started {self._started:%Y-%m-%d %H:%M:%S} UTC.</p>",
            _table("Backends", ("backend", "state", "checkpoint"), backends),
        ]
        if state.damaged:
            rows = [(escape(f"/data/{kind}/"), str(count)) for kind, count in sorted(state.damaged.items())]
            parts.append(_table("Damaged objects, which are left out (the log names them)", ("folder", "found"), rows))
        if state.jobs is not None:
            jobs = [record for record in state.jobs if principal.sees(record.producer_id)]
            counted = Counter(record.state for record in jobs)
            parts.append(_table("Jobs", STATES, [tuple(str(counted[name]) for name in STATES)]))
            recent = sorted(jobs, key=lambda record: (record.state in TERMINAL, -record.updated_at.timestamp()))
            head = ("job", "producer", "model", "backend", "state", "step", "left", "error")
            parts.append(_table("Under way, then the latest", head, map(_row, recent[:_SHOWN])))
        body = "".join(parts)
        page = '<!doctype html><html lang="en"><meta charset="utf-8"><meta http-equiv="refresh" content="10">'
        page += f"<title>Producer Twin</title><style>{_STYLE}</style><body>{body}</body></html>"
        # What clients wrote is escaped; should that ever fail, nothing in the page may run or be fetched.
        return HTMLResponse(page, headers={"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'"})


def _damaged(front: Front) -> Counter[str]:
    found = records.damaged(front.storage)
    if waiting := len(front.outbox.damaged()):
        found["outbox"] = waiting
    return found


def _row(record: JobRecord) -> tuple[str, ...]:
    steps = f"{record.step or 0} of {record.total_steps}" if record.total_steps else ""
    left = f"{record.seconds_left:.0f} s" if record.seconds_left else ""
    words = (record.job_id, record.producer_id, record.model_name, record.backend, record.state)
    return tuple(map(escape, (*words, steps, left, record.error or "")))


def _mark(good: bool, yes: str, no: str) -> str:
    return f'<span class="{"ok" if good else "no"}">{escape(yes if good else no)}</span>'


def _table(title: str, head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    cells = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    names = "".join(f"<th>{escape(name)}</th>" for name in head)
    return f"<h2>{escape(title)}</h2><table><tr>{names}</tr>{cells}</table>"
