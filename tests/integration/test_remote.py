"""A runner and the trainer as services of their own, found by their URLs; traces span them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from scripts.serving import Server, serving
from tests.api import ACE_STEP_ONLY, beat, command_of, running, wait_until

pytestmark = pytest.mark.long


class _Collector(BaseHTTPRequestHandler):
    """An OTLP collector that keeps spans as (trace id, service, name)."""

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
    """The collector's endpoint, and its class with the spans that it received."""
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
    shared = tiny | {"STORAGE_URL": storage, "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint} | ACE_STEP_ONLY
    services = {"runner": "runners.ace_step:AceStepRunner", "trainer": "training.service:Training"}
    with ExitStack() as stack, ThreadPoolExecutor(len(services)) as pool:

        def start(name: str) -> Server:
            return stack.enter_context(serving(tmp_path / name, shared, [services[name]]))

        runner, trainer = pool.map(start, services)
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
