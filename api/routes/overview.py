"""The state of the service, as a page (`/status`) and as Prometheus metrics (`/metrics`)."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, FileSystemLoader, Template, select_autoescape
from prometheus_client import Metric, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from api.capacity.thread_pools import to_record_thread
from contract import STATES, TERMINAL, BackendAnswer
from core import principal
from core.errors import Refusal
from storage import records

if TYPE_CHECKING:
    from api.routes.handler import Front
    from training.jobs.record import JobRecord

# Job records are read one by one from storage, so they are read no more often than this.
MAX_AGE_SECONDS = 10.0
_MAX_JOBS_SHOWN = 20


@dataclass(frozen=True)
class State:
    """The state of the service.

    Attributes:
        jobs: None if storage does not answer.
        reason: of that, for the page.
        damaged: the number of damaged objects by their folder.
    """

    backends: list[BackendAnswer]
    jobs: list[JobRecord] | None
    reason: str | None
    damaged: Counter[str]


class Overview:
    """The service's state, at most MAX_AGE_SECONDS old, and its two forms."""

    def __init__(self) -> None:
        self._started = datetime.now(UTC)
        self._lock = asyncio.Lock()
        self._read_at = 0.0
        self._jobs: list[JobRecord] | None = None
        self._reason: str | None = None
        self._damaged: Counter[str] = Counter()

    async def state(self, front: Front) -> State:
        async with self._lock:
            if time.monotonic() - self._read_at > MAX_AGE_SECONDS or not self._read_at:
                try:
                    self._jobs, self._reason = await to_record_thread(lambda: list(front.jobs.all())), None
                    self._damaged = await to_record_thread(_damaged, front)
                except Refusal as refusal:
                    self._jobs, self._reason = None, refusal.message
                self._read_at = time.monotonic()
        return State(await front.runners.describe(), self._jobs, self._reason, self._damaged)

    async def metrics(self, front: Front) -> str:
        """In Prometheus' text format: gauges that only the front can set, of all processes and of storage."""
        state = await self.state(front)
        ready = GaugeMetricFamily("producer_twin_backend_ready", "Whether a backend can serve", labels=["backend"])
        for row in state.backends:
            ready.add_metric([row.name], int(row.ready))
        families = [ready]
        families.append(
            GaugeMetricFamily("producer_twin_storage_up", "Whether storage answers", int(state.jobs is not None))
        )
        if state.jobs is not None:
            counted = Counter(record.state for record in state.jobs)
            jobs = GaugeMetricFamily("producer_twin_jobs", "Training jobs by their state", labels=["state"])
            for name in STATES:
                jobs.add_metric([name], counted[name])
            damaged = GaugeMetricFamily(
                "producer_twin_damaged_objects", "Damaged objects in storage by their folder", labels=["kind"]
            )
            for kind, count in sorted(({"jobs": 0} | state.damaged).items()):
                damaged.add_metric([kind], count)
            families += [jobs, damaged]
        return generate_latest(_Families(families)).decode()

    async def page(self, front: Front) -> str:
        """The state as HTML, with the jobs that the principal may see."""
        state = await self.state(front)
        counts, shown = {}, None
        if state.jobs is not None:
            jobs = [record for record in state.jobs if principal.sees(record.producer_id)]
            counted = Counter(record.state for record in jobs)
            counts = {name: counted[name] for name in STATES}
            # Jobs under way come first, then the latest changed.
            shown = sorted(jobs, key=lambda record: (record.state in TERMINAL, -record.updated_at.timestamp()))
            shown = shown[:_MAX_JOBS_SHOWN]
        return _template().render(state=state, started=self._started, counts=counts, jobs=shown)


class _Families(Collector):
    """Metrics that are not registered, since the multiprocess registry would count them once for each process."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self.families = families

    def collect(self) -> Iterable[Metric]:
        return self.families


def _damaged(front: Front) -> Counter[str]:
    found = records.count_damaged(front.storage)
    if waiting := len(front.outbox.damaged()):
        found["outbox"] = waiting
    return found


@lru_cache(maxsize=1)
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=select_autoescape(default=True), trim_blocks=True
    )
    return environment.get_template("status.html")
