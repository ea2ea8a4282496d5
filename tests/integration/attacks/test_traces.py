"""Attempts in the log, the metrics and the status page."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

import httpx

from tests.api import wait_until
from tests.integration.attacks.attempts import GENERATE, UPLOAD
from tests.integration.attacks.conftest import SECRET, Guarded


def test_the_log_holds_what_was_tried_and_no_secrets(guarded: Guarded) -> None:
    """Each is one line of JSON, whatever the client puts into path, names and request id."""
    forged = '/nothing%0a{"level": "INFO", "message": "forged"}'
    guarded.ask("ada", "GET", forged, headers={"x-request-id": "asked-by-test"})
    guarded.ask(
        "ada", "POST", "/store-upload", json=UPLOAD | {"producer_id": "bob"}, headers={"x-request-id": "audited"}
    )

    def told() -> list[dict[str, Any]]:
        whole = guarded.api.server.log.read_text().rpartition("\n")[0]  # the last line may still be written
        return [json.loads(line) for line in whole.splitlines() if line.startswith("{")]

    def is_audited(line: dict[str, Any]) -> bool:
        return line.get("request_id") == "audited" and line["logger"] == "producer_twin.audit"

    wait_until(lambda: any(is_audited(line) for line in told()))
    lines = told()
    assert not any(line.get("message") == "forged" for line in lines)
    (asked,) = (line for line in lines if line.get("request_id") == "asked-by-test")
    assert (asked["logger"], asked["status"]) == ("producer_twin.access", 404)
    audit = [line for line in lines if is_audited(line)]
    assert [(line["producer_id"], line["status"]) for line in audit] == [("bob", 403)]
    assert audit[0]["principal"] == f"key {guarded.tokens['ada'].split('_')[1]}"
    assert datetime.fromisoformat(audit[0]["time"]).tzinfo == UTC
    text = guarded.api.server.log.read_text()
    assert not any(token in text for token in guarded.tokens.values())


def test_metrics_tell_refusals_by_their_cause(guarded: Guarded) -> None:
    guarded.ask("ada", "GET", "/metrics")
    assert guarded.ask("ada", "POST", "/generate", json=GENERATE).status_code == 200
    text = guarded.ask("operator", "GET", "/metrics").text
    assert 'producer_twin_refusals_total{cause="not allowed",route="/metrics"}' in text
    assert 'producer_twin_backend_ready{backend="ace_step"} 1' in text
    assert 'producer_twin_jobs{state="failed"}' in text
    assert re.search(
        r'producer_twin_turn_rows_count\{backend="ace_step"\} [1-9]', text
    )  # counted in the runner's process
    assert 'producer_twin_music_seconds_total{backend="ace_step"}' in text
    assert "bob" not in text


def test_the_page_for_people(guarded: Guarded) -> None:
    page = guarded.ask("operator", "GET", "/status")
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "bobs-job" in page.text
    assert SECRET in page.text
    assert SECRET not in guarded.ask("ada", "GET", "/status").text
    challenge = httpx.get(f"{guarded.api.server.url}/status", trust_env=False)
    assert challenge.headers["www-authenticate"].startswith("Basic")
