"""One trace through the processes: the front's request, the runner that it asks, the storage that they visit."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.api import running

CODE = """
import sys
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from storage import NotFound, open_storage

spans = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(spans))
trace.set_tracer_provider(provider)
storage = open_storage(sys.argv[1])
with trace.get_tracer("test").start_as_current_span("request") as request:
    storage.put("uploads/secret-producer/j/a.wav", b"x")
    try:
        storage.get("uploads/nobody/j/a.wav")
    except NotFound:
        pass
for span in spans.get_finished_spans()[:-1]:
    assert span.context.trace_id == request.get_span_context().trace_id
    assert "secret-producer" not in str(span.to_json())
    assert "nobody" not in str(span.to_json())
    print(span.name, span.attributes["storage.kind"])
"""


def test_storage_is_part_of_the_requests_trace(tmp_path: Path) -> None:
    """In a process of its own, since a process has one provider."""
    done = subprocess.run(
        [sys.executable, "-c", CODE, tmp_path.as_uri()], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert (lines[0], lines[-1]) == ("storage.put uploads", "storage.get uploads")


class _Collector(BaseHTTPRequestHandler):
    """Takes OTLP, and keeps (trace, service, span)."""

    spans: list[tuple[bytes, str, str]]

    def do_POST(self) -> None:
        message = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["Content-Length"])))
        for resource in message.resource_spans:
            names = {one.key: one.value.string_value for one in resource.resource.attributes}
            for scope in resource.scope_spans:
                self.spans += [(span.trace_id, names["service.name"], span.name) for span in scope.spans]
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


def test_a_trace_goes_from_the_front_to_the_runner(tmp_path: Path, tiny: dict[str, str]) -> None:
    handler: type[_Collector] = type("Collector", (_Collector,), {"spans": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as collector:
        threading.Thread(target=collector.serve_forever, args=(0.05,), daemon=True).start()
        endpoint = f"http://127.0.0.1:{collector.server_address[1]}"
        environment = tiny | {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "ALLOW_NONCOMMERCIAL": "false"}
        with running(tmp_path, environment, ("ace_step",)) as api:
            assert api.generate(duration_seconds=1).any()
            wanted = {("ProducerTwin", "storage.put"), ("AceStepRunner", "POST /generate")}
            end = time.monotonic() + 30
            while time.monotonic() < end and not any(wanted <= found for found in _by_trace(handler.spans).values()):
                time.sleep(0.5)
        collector.shutdown()
    assert any(wanted <= found for found in _by_trace(handler.spans).values()), handler.spans


def _by_trace(spans: list[tuple[bytes, str, str]]) -> dict[bytes, set[tuple[str, str]]]:
    found: dict[bytes, set[tuple[str, str]]] = {}
    for trace, service, name in list(spans):
        found.setdefault(trace, set()).add((service, name))
    return found
