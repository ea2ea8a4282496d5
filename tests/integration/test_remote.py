"""A runner and the trainer on other machines: services of their own, found by their URLs, followed by traces."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from scripts.serving import serving
from tests.api import beat, command_of, running, wait_until


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


@pytest.fixture
def collector() -> Iterator[tuple[str, type[_Collector]]]:
    """Its endpoint, and the class that keeps what came."""
    handler: type[_Collector] = type("Collector", (_Collector,), {"spans": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", handler
        server.shutdown()


def test_runner_and_trainer_elsewhere(
    tmp_path: Path, tiny: dict[str, str], collector: tuple[str, type[_Collector]]
) -> None:
    endpoint, handler = collector
    storage = (tmp_path / "front" / "data").resolve().as_uri()
    shared = tiny | {"STORAGE_URL": storage, "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "ALLOW_NONCOMMERCIAL": "false"}
    with (
        serving(tmp_path / "runner", shared, ["runners.ace_step:AceStepRunner"]) as runner,
        serving(tmp_path / "trainer", shared, ["training.service:Training"]) as trainer,
    ):
        urls = {"RUNNER_URLS": f'{{"ace_step": "{runner.url}"}}', "TRAINING_URL": trainer.url}
        with running(tmp_path / "front", shared | urls, ("ace_step",)) as api:
            names = " ".join(" ".join(command_of(process)) for process in api.children())
            assert "AceStepRunner" not in names
            assert "--service-name Training" not in names
            path = api.upload("ada", beat(3, rate=8000, channels=1))
            sent = api.post("/train/submit", producer_id="ada", model_name="far", upload_paths=[path], max_steps=1)
            job = api.ended(sent["job_id"])
            assert job["state"] == "done", job
            assert api.generate(duration_seconds=1, lora_id="ada:far").any()
            wanted = {("ProducerTwin", "storage"), ("AceStepRunner", "POST /generate"), ("AceStepRunner", "storage")}
            wait_until(lambda: any(wanted <= found for found in _by_trace(handler.spans).values()))
        assert "is to be started" in trainer.log.read_text()


def _by_trace(spans: list[tuple[bytes, str, str]]) -> dict[bytes, set[tuple[str, str]]]:
    found: dict[bytes, set[tuple[str, str]]] = {}
    for trace, service, name in list(spans):
        found.setdefault(trace, set()).add((service, "storage" if name.startswith("storage.") else name))
    return found
