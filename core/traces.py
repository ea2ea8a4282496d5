"""One trace of a request through all processes, for whoever collects them by OpenTelemetry (OTLP over HTTP).

BentoML makes the spans of requests between its services, and sends on with each to which trace it belongs; storage adds
its visits (storage/tracing.py). BentoML keeps its provider to itself: it is made everybody's here.
"""

from __future__ import annotations

from typing import Any

from bentoml._internal.configuration.containers import BentoMLContainer
from opentelemetry import trace

from core.settings import Settings


def service_section(settings: Settings) -> dict[str, Any]:
    """What belongs into a service's configuration, as BentoML has it."""
    if not settings.otel_exporter_otlp_endpoint:
        return {}
    endpoint = f"{settings.otel_exporter_otlp_endpoint.rstrip('/')}/v1/traces"
    otlp = {"protocol": "http", "endpoint": endpoint}
    return {"tracing": {"exporter_type": "otlp", "sample_rate": settings.traces_sampled, "otlp": otlp}}


def configure(settings: Settings) -> None:
    """Called by each service as it starts."""
    if settings.otel_exporter_otlp_endpoint:
        trace.set_tracer_provider(BentoMLContainer.tracer_provider.get())
