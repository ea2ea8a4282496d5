"""What operators can graph: `GET /metrics` has the figures of all processes in one, BentoML's own of the runners too.

BentoML's own of the front are off: they have the path as a label, so that a stranger could fill the memory.

Names end with their unit, labels are few: none of them is a client's word. docs/operations.md says what each answers,
and deploy/grafana/ draws them.
"""

from __future__ import annotations

import os

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

MEDIA_TYPE = CONTENT_TYPE_LATEST

# The front.
REQUESTS = Histogram(
    "producer_twin_request_seconds",
    "How long requests took, by route, method and status",
    ["route", "method", "status"],
    buckets=(0.01, 0.05, 0.25, 1, 5, 15, 60, 300, 1800),
)
REFUSALS = Counter("producer_twin_refusals_total", "Requests answered with an error, by cause", ["route", "cause"])
MUSIC = Counter("producer_twin_music_seconds_total", "Seconds of music that were answered", ["backend"])
BODIES = Gauge("producer_twin_bodies_bytes", "Request bodies that are held in memory", multiprocess_mode="livesum")

# A runner. A batch's fill is rows / batches, its speed music / time.
BATCHES = Histogram(
    "producer_twin_batch_seconds",
    "How long batches took",
    ["backend"],
    buckets=(0.25, 1, 2.5, 5, 10, 30, 60, 180, 600),
)
BATCH_ROWS = Histogram("producer_twin_batch_rows", "Tracks in a batch", ["backend"], buckets=(1, 2, 3, 4, 6, 8, 16))
BATCH_MUSIC = Counter("producer_twin_batch_music_seconds_total", "Seconds of music that batches made", ["backend"])
WAITING = Gauge("producer_twin_waiting", "Tracks that wait for a batch", ["backend"], multiprocess_mode="livesum")
ADAPTERS = Counter(
    "producer_twin_adapter_loads_total", "Twins that were wanted, by where they were found", ["backend", "found"]
)


def text() -> str:
    """Of all processes that the server started, in Prometheus' text format."""
    registry = REGISTRY
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        registry = CollectorRegistry()
        MultiProcessCollector(registry)
    return generate_latest(registry).decode()


CAUSES = {
    400: "bad input",
    401: "no key",
    403: "not allowed",
    404: "not there",
    405: "wrong method",
    408: "too slow",
    409: "conflict",
    413: "too large",
    415: "wrong type",
    429: "too many",
    503: "not able",
    504: "took too long",
    507: "full",
}
