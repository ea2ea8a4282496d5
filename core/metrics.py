"""Prometheus metrics. `GET /metrics` joins those of all processes, including BentoML's own of the runners.

BentoML's own of the front are off: they have the path as a label, so clients could fill the memory with new ones. For
the same reason no label here is a client's text. Names end with their unit. docs/operations.md explains each metric,
and deploy/grafana/ has a dashboard.
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

# A replaced process leaves its values behind. Counters and histograms are summed with them, so that they never fall.
# Gauges take the value of the newest process, which sets it when it starts.

# The front.
REQUESTS = Histogram(
    "producer_twin_request_seconds",
    "Duration of requests, by route, method and status",
    ["route", "method", "status"],
    buckets=(0.01, 0.05, 0.25, 1, 5, 15, 60, 300, 1800),
)
REFUSALS = Counter("producer_twin_refusals_total", "Requests answered with an error, by cause", ["route", "cause"])
MUSIC = Counter("producer_twin_music_seconds_total", "Seconds of music generated", ["backend"])
BODIES = Gauge("producer_twin_bodies_bytes", "Bytes of request bodies held in memory", multiprocess_mode="mostrecent")
CONNECTIONS_CLOSED = Counter(
    "producer_twin_connections_closed_total", "Connections closed by the server, by cause", ["cause"]
)
DAMAGED = Counter(
    "producer_twin_damaged_found_total",
    "Objects in storage found damaged, by top folder",
    ["kind"],
)

# A runner. A turn is the work on one layer or token for all tracks (rows) of a batch.
PRESENT = Gauge(
    "producer_twin_tracks_present",
    "Tracks in a runner, generated or waiting",
    ["backend"],
    multiprocess_mode="mostrecent",
)
TURN_SECONDS = Histogram(
    "producer_twin_turn_seconds",
    "Duration of turns",
    ["backend"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5),
)
TURN_ROWS = Histogram("producer_twin_turn_rows", "Tracks per turn", ["backend"], buckets=(1, 2, 3, 4, 6, 8, 16, 32))
ADAPTERS = Counter(
    "producer_twin_adapter_loads_total", "Twins requested, by where they were found", ["backend", "found"]
)


def text() -> str:
    """The metrics of all processes of this server, in Prometheus' text format."""
    registry = REGISTRY
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        registry = CollectorRegistry()
        MultiProcessCollector(registry)
    return generate_latest(registry).decode()
