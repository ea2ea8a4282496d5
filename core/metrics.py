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

# A process that was replaced leaves its figures behind. Of counters and histograms that is right: they are summed, and
# so never fall while the server runs. Of gauges the most recent process counts, and each sets its own when it starts.

# The front.
REQUESTS = Histogram(
    "producer_twin_request_seconds",
    "How long requests took, by route, method and status",
    ["route", "method", "status"],
    buckets=(0.01, 0.05, 0.25, 1, 5, 15, 60, 300, 1800),
)
REFUSALS = Counter("producer_twin_refusals_total", "Requests answered with an error, by cause", ["route", "cause"])
MUSIC = Counter("producer_twin_music_seconds_total", "Seconds of music that were answered", ["backend"])
BODIES = Gauge("producer_twin_bodies_bytes", "Request bodies that are held in memory", multiprocess_mode="mostrecent")
CONNECTIONS_CLOSED = Counter("producer_twin_connections_closed_total", "Connections that were cut, by cause", ["cause"])
DAMAGED = Counter(
    "producer_twin_damaged_found_total",
    "Objects in storage that were found damaged, by the folder they lie in",
    ["kind"],
)

# A runner. A turn is a layer or a token of all tracks of a batch; rows and seconds tell how full and fast turns are.
PRESENT = Gauge(
    "producer_twin_tracks_present",
    "Tracks that a runner makes or that wait there",
    ["backend"],
    multiprocess_mode="mostrecent",
)
TURN_SECONDS = Histogram(
    "producer_twin_turn_seconds",
    "How long turns took",
    ["backend"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5),
)
TURN_ROWS = Histogram("producer_twin_turn_rows", "Tracks in a turn", ["backend"], buckets=(1, 2, 3, 4, 6, 8, 16, 32))
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
