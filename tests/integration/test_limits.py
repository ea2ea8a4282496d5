"""Limits of requests and streams, for each key and for all, on a real server: other clients are served meanwhile."""

from __future__ import annotations

import json
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from api.auth import keys
from contract import TrainRequest
from storage import open_storage
from tests.api import ACE_STEP_ONLY, PATIENCE, Api, error_of, running, wait_until
from training.jobs.store import Jobs

REQUESTS, KEY_REQUESTS, KEY_STREAMS, PER_MINUTE = 24, 3, 2, 300
LIMITS = {
    "REQUESTS_AT_ONCE": str(REQUESTS),
    "STREAMS_AT_ONCE": "24",
    "KEY_REQUESTS_AT_ONCE": str(KEY_REQUESTS),
    "KEY_STREAMS_AT_ONCE": str(KEY_STREAMS),
    "KEY_REQUESTS_PER_MINUTE": str(PER_MINUTE),
    "LOG_FORMAT": "json",
}
SLOW = "Content-Type: application/json\r\nContent-Length: 90000\r\nExpect: 100-continue\r\n"


@dataclass(frozen=True)
class Busy:
    api: Api
    tokens: dict[str, str]

    @contextmanager
    def begun(self, head: str, who: str | None = None) -> Iterator[socket.socket]:
        """Send the head of a request without its body; the connection stays open within the context."""
        host, port = self.api.server.url.removeprefix("http://").split(":")
        key = f"Authorization: Bearer {self.tokens[who]}\r\n" if who else ""
        with socket.create_connection((host, int(port)), timeout=PATIENCE) as line:
            method_and_path, _, headers = head.partition("\r\n")
            line.sendall(f"{method_and_path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{key}{headers}\r\n".encode())
            yield line

    def ask(self, who: str, path: str, **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.api.client.get(path, headers={**named, "authorization": f"Bearer {self.tokens[who]}"})


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory, tiny: dict[str, str]) -> Iterator[Busy]:
    folder = tmp_path_factory.mktemp("busy")
    (folder / "data").mkdir()
    storage = open_storage((folder / "data").as_uri())
    tokens = {name: keys.create(storage, name, ["generate", "train"]) for name in ("ada", "bob")}
    tokens["operator"] = keys.create(storage, "operator", ["admin"], requests_per_minute=100_000)
    tokens["web"] = keys.create(storage, "web", ["generate", "train"], requests_per_minute=5, names_visitors=True)
    with running(folder, tiny | ACE_STEP_ONLY | LIMITS, ("ace_step",), tokens["operator"]) as api:
        yield Busy(api, tokens)


def head_of(line: socket.socket) -> str:
    return line.recv(65_536).decode()


def test_one_keys_slow_bodies_are_its_own_business(busy: Busy) -> None:
    with ExitStack() as stack:
        for _ in range(KEY_REQUESTS):
            line = stack.enter_context(busy.begun(f"POST /store-upload\r\n{SLOW}", "ada"))
            assert " 100 " in head_of(line)  # the server waits for its body
        refused = busy.ask("ada", "/backends", x_request_id="one-too-many")
        assert "at once" in error_of(refused, 429)
        assert int(refused.headers["retry-after"]) > 0
        assert busy.ask("bob", "/backends").status_code == 200
        for probe in ("/livez", "/readyz", "/healthz"):
            assert busy.api.client.get(probe).status_code == 200
    wait_until(lambda: busy.ask("ada", "/backends").status_code == 200)  # closed connections free their slots
    metrics = busy.ask("operator", "/metrics").text
    assert 'producer_twin_refusals_total{cause="too many",route="/backends"}' in metrics
    log = busy.api.server.log.read_text()
    assert any('"status": 429' in row and "one-too-many" in row for row in log.splitlines())


def test_streams_take_no_slots_of_requests(busy: Busy) -> None:
    jobs = Jobs(open_storage(busy.api.folder.as_uri()))
    jobs.create(TrainRequest(producer_id="ada", upload_paths=["/data/uploads/ada/x/y.wav"], job_id="long"), "ace_step")
    with ExitStack() as stack:
        for _ in range(KEY_STREAMS):
            line = stack.enter_context(busy.begun("GET /jobs/long/events\r\n", "ada"))
            assert " 200 " in head_of(line)
        for stream in ("/jobs/long/events", "/queue/x", "/data/outputs/base/x.wav"):
            assert "streams" in error_of(busy.ask("ada", stream), 429)
        for _ in range(KEY_REQUESTS + 1):
            assert busy.ask("ada", "/jobs/long").status_code == 200
        assert busy.ask("bob", "/queue/x").status_code == 404
    jobs.fail("long", "enough")


def test_who_waits_for_a_training_and_leaves_gives_the_slot_back(busy: Busy) -> None:
    """The training itself goes on."""
    jobs = Jobs(open_storage(busy.api.folder.as_uri()))
    request = TrainRequest(producer_id="ada", upload_paths=["/data/uploads/ada/x/y.wav"], job_id="awaited")
    jobs.create(request, "ace_step")
    jobs.update("awaited", state="preparing", updated_at=datetime.now(UTC) + timedelta(hours=1))
    body = request.model_dump_json(exclude_none=True)
    head = f"POST /train\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    with ExitStack() as stack:
        for _ in range(KEY_STREAMS):
            stack.enter_context(busy.begun(head, "ada")).sendall(body.encode())
        time.sleep(2)  # asked earlier, the question itself could take a slot, and a request be refused for it
        wait_until(lambda: busy.ask("ada", "/queue/x").status_code == 429)
    wait_until(lambda: busy.ask("ada", "/queue/x").status_code == 404, 30)
    assert busy.ask("ada", "/jobs/awaited").json()["state"] == "preparing"
    jobs.fail("awaited", "enough")


def test_many_strangers_with_slow_bodies_take_nothing(busy: Busy) -> None:
    """More requests than slots, of each kind, are answered before their bodies and take no slot."""
    with ExitStack() as stack:
        for _ in range(REQUESTS + 10):
            line = stack.enter_context(busy.begun(f"OPTIONS /generate\r\n{SLOW}"))
            assert " 204 " in head_of(line)
            line = stack.enter_context(busy.begun(f"POST /generate\r\n{SLOW}"))
            assert " 401 " in head_of(line)
        assert busy.ask("ada", "/backends").status_code == 200
        assert busy.ask("ada", "/queue/x").status_code == 404


def test_a_strangers_questions_have_a_rate(busy: Busy) -> None:
    assert busy.api.client.options("/generate").status_code == 204
    wait_until(lambda: busy.api.client.options("/generate").status_code == 429, pause=0)
    assert busy.ask("ada", "/backends").status_code == 200


def test_visitors_have_limits_each(busy: Busy) -> None:
    def ask(visitor: str, who: str = "web") -> int:
        return busy.ask(who, "/backends", x_visitor_address=visitor).status_code

    assert [ask("9.9.9.9") for _ in range(7)][-1] == 429
    assert ask("9.9.9.8") == 200
    assert [ask(f"2001:db8::{number}") for number in range(1, 8)][-1] == 429
    assert ask("2001:db8:0:1::1") == 200
    assert ask("nobody") == 400
    assert ask("nobody", "bob") == 200  # only a web app's key may name visitors
    with ExitStack() as stack:
        for _ in range(KEY_REQUESTS):
            head = f"POST /generate\r\nX-Visitor-Address: 8.8.8.8\r\n{SLOW}"
            line = stack.enter_context(busy.begun(head, "web"))
            assert " 100 " in head_of(line)
        assert "at once" in error_of(busy.ask("web", "/loras", x_visitor_address="8.8.8.8"), 429)
        assert ask("8.8.4.4") == 200
    assert '"visitor": "9.9.9.9"' in busy.api.server.log.read_text()


def test_once_there_was_a_key_the_door_stays_shut(busy: Busy, tiny: dict[str, str], tmp_path: Path) -> None:
    """Even if the keys are deleted, also after a restart. Only the operator's command opens it again."""
    folder, storage = busy.api.folder, open_storage(busy.api.folder.as_uri())
    shutil.rmtree(folder / "api_keys")
    wait_until(lambda: busy.ask("ada", "/backends").status_code == 401, keys.MAX_AGE_SECONDS + 60, 1.0)
    assert httpx.get(f"{busy.api.server.url}/jobs", trust_env=False).status_code == 401
    anew = tiny | ACE_STEP_ONLY | {"STORAGE_URL": folder.as_uri()}
    with pytest.raises(AssertionError, match="401"), running(tmp_path / "shut", anew, ("ace_step",)):
        pass
    keys.reopen(storage)
    with running(tmp_path / "open", anew, ("ace_step",)) as api:
        assert api.client.get("/jobs").status_code == 200
        assert json.loads(api.client.get("/jobs", headers={"via": "1.1 x"}).text)["error"].startswith("authorization")
