"""OpenTelemetry traces of a request through all processes, exported by OTLP over HTTP.

BentoML makes the spans of requests and passes the trace on between its services; storage/tracing.py adds a span for
each call of the storage. For that, BentoML's tracer provider, which it keeps private, becomes the global one here.
"""

from __future__ import annotations

from typing import Any

from bentoml._internal.configuration.containers import BentoMLContainer
from opentelemetry import trace

from core.settings import Settings


def service_section(settings: Settings) -> dict[str, Any]:
    """The part of a service's BentoML configuration that turns tracing on; empty if no collector is set."""
    if not settings.otel_exporter_otlp_endpoint:
        return {}
    endpoint = f"{settings.otel_exporter_otlp_endpoint.rstrip('/')}/v1/traces"
    otlp = {"protocol": "http", "endpoint": endpoint}
    return {"tracing": {"exporter_type": "otlp", "sample_rate": settings.traces_sampled, "otlp": otlp}}


def configure(settings: Settings) -> None:
    """Make BentoML's tracer provider the global one. Each service calls this when it starts."""
    if settings.otel_exporter_otlp_endpoint:
        trace.set_tracer_provider(BentoMLContainer.tracer_provider.get())
