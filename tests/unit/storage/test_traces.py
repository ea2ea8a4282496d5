"""The spans of storage. tests/integration/test_remote.py tests the trace across processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.api import PATIENCE

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
    storage.put("uploads/secret-producer/j/b.wav", b"x")
    for entry in storage.list("uploads/"):
        # The caller's work between two entries is not part of the listing.
        assert trace.get_current_span() is request
        assert not any(span.name == "storage.list" for span in spans.get_finished_spans())
for span in spans.get_finished_spans()[:-1]:
    assert span.context.trace_id == request.get_span_context().trace_id
    assert "secret-producer" not in str(span.to_json())
    assert "nobody" not in str(span.to_json())
    print(span.name, span.attributes["storage.kind"])
"""


def test_storage_is_part_of_the_requests_trace(tmp_path: Path) -> None:
    """In a process of its own, since a process has one provider."""
    done = subprocess.run(
        [sys.executable, "-c", CODE, tmp_path.as_uri()], capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines == [f"storage.{method} uploads" for method in ("put", "get", "put", "list")]
