"""Who may use which route, as a table: every route, asked by every kind of client, for its own producer and another's.

`permissions.json` holds the status codes. After a change that is meant, write it anew and read the difference:

    python -m tests.integration.test_permissions
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from safetensors.numpy import save

from adapters.adapter_file import Header
from api.auth import keys as api_keys
from contract import TrainRequest
from scripts.serving import tiny_checkpoints
from storage import Storage, keys, open_storage
from tests.adapter_files import seal
from tests.api import Api, beat, running, wait_until
from training.jobs.store import Jobs

SNAPSHOT = Path(__file__).with_name("permissions.json")
SONG = beat(1, rate=8000, channels=1)
PRODUCERS = {"own": "ada", "other": "bob"}
Table = dict[str, dict[str, int]]


@dataclass(frozen=True)
class Ask:
    """A request that changes nothing, unless it is a DELETE, whose objects `seed` stores again.

    Attributes:
        route: as the OpenAPI document names it.
        url: where it differs from the route; `{p}` stands for the producer's id.
        body: its JSON, in which `{p}` stands for the producer's id.
        form: the fields of a multipart form, which has a file that is none of those that are taken.
        file: the field of that file.
    """

    method: str
    route: str
    url: str = ""
    body: dict[str, Any] | None = None
    form: dict[str, str] = field(default_factory=dict)
    file: str = "file"

    def sent(self, client: httpx.Client, producer: str, headers: dict[str, str]) -> int:
        url = (self.url or self.route).replace("{p}", producer)
        if self.form:
            data = {name: value.replace("{p}", producer) for name, value in self.form.items()}
            files = {self.file: ("x.txt", b"neither a sound nor an adapter")}
            return client.request(self.method, url, data=data, files=files, headers=headers).status_code
        body = None if self.body is None else json.loads(json.dumps(self.body).replace("{p}", producer))
        return client.request(self.method, url, json=body, headers=headers).status_code


_TRAIN = {"producer_id": "{p}", "upload_paths": ["/data/uploads/{p}/takes/gone.wav"], "max_steps": 1}
_UPLOAD = {"producer_id": "{p}", "content_base64": "bm8gc291bmQ="}
ASKS = (
    Ask("POST", "/store-upload", body=_UPLOAD),
    Ask("POST", "/uploads", form={"producer_id": "{p}"}),
    Ask("POST", "/uploads/link", body={"producer_id": "{p}", "bytes": 5}),
    Ask("GET", "/uploads/analysis", "/uploads/analysis?path=/data/uploads/{p}/takes/a.wav"),
    Ask("POST", "/train", body=_TRAIN),
    Ask("POST", "/train/submit", body=_TRAIN),
    Ask("GET", "/train/status", "/train/status?task_id={p}-task"),
    Ask("GET", "/train/get", "/train/get?task_id={p}-task"),
    Ask("GET", "/jobs", "/jobs?producer_id={p}"),
    Ask("GET", "/jobs/{job_id}", "/jobs/{p}-job"),
    Ask("DELETE", "/jobs/{job_id}", "/jobs/{p}-job"),
    Ask("POST", "/jobs/{job_id}/cancel", "/jobs/{p}-job/cancel"),
    Ask("POST", "/jobs/{job_id}/resume", "/jobs/{p}-job/resume"),
    Ask("GET", "/jobs/{job_id}/events", "/jobs/{p}-job/events"),
    Ask("GET", "/jobs/{job_id}/report.json", "/jobs/{p}-job/report.json"),
    Ask("GET", "/jobs/{job_id}/report", "/jobs/{p}-job/report"),
    Ask("GET", "/jobs/{job_id}/previews/{name}", "/jobs/{p}-job/previews/step_8.mp3"),
    Ask("GET", "/datasets/{producer_id}", "/datasets/{p}"),
    Ask("POST", "/generate", body={"prompt": "x", "lora_id": "{p}:night", "duration_seconds": 1}),
    Ask(
        "POST",
        "/generate/form",
        form={"prompt": "x", "lora_id": "{p}:night", "task": "repaint", "start": "1"},
        file="source",
    ),
    Ask("GET", "/queue/{request_id}", "/queue/{p}-track"),
    Ask("GET", "/data/outputs/{path}", "/data/outputs/twins/{p}/track.wav"),
    Ask("GET", "/backends"),
    Ask("GET", "/loras", "/loras?producer_id={p}"),
    Ask("POST", "/loras/import", form={"producer_id": "{p}", "model_name": "new"}),
    Ask("GET", "/loras/{lora_id}", "/loras/{p}:night"),
    Ask("DELETE", "/loras/{lora_id}", "/loras/{p}:night"),
    Ask("GET", "/loras/{lora_id}/versions", "/loras/{p}:night/versions"),
    Ask("POST", "/loras/{lora_id}/rollback", "/loras/{p}:night/rollback", {"version": "1" * 16}),
    Ask("POST", "/loras/{lora_id}/retrain", "/loras/{p}:night/retrain", {}),
    Ask("GET", "/loras/{lora_id}/file", "/loras/{p}:night/file"),
    Ask("GET", "/producers/{producer_id}", "/producers/{p}"),
    Ask("DELETE", "/producers/{producer_id}", "/producers/{p}"),
    Ask("GET", "/status"),
    Ask("GET", "/metrics"),
    Ask("GET", "/livez"),
    Ask("GET", "/readyz"),
)
# What the document leaves out, what is not there, and what is asked of a route by a method that it has not.
OTHERS = (
    Ask("GET", "/"),
    Ask("GET", "/healthz"),
    Ask("GET", "/docs.json"),
    Ask("GET", "/schema.json"),
    Ask("GET", "/static_content/{path}", "/static_content/index.css"),
    Ask("HEAD", "/backends"),
    Ask("HEAD", "/jobs/{job_id}", "/jobs/{p}-job"),
    Ask("OPTIONS", "/generate"),
    Ask("GET", "/nothing"),
    Ask("POST", "/nothing", body={}),
    Ask("GET", "/jobs/{job_id}/nothing", "/jobs/{p}-job/nothing"),
    Ask("GET", "/loras/nothing"),
    Ask("GET", "/loras/{lora_id}/file\\n", "/loras/{p}:night/file%0A"),
    Ask("PUT", "/train/cancel", "/train/cancel?task_id={p}-task"),
    Ask("POST", "/train/retry", "/train/retry?task_id={p}-task"),
    Ask("PUT", "/backends"),
    Ask("POST", "/status", body={}),
    Ask("GET", "/generate"),
    Ask("GET", "/train/submit"),
    Ask("POST", "/jobs/{job_id}", "/jobs/{p}-job", {}),
    Ask("GET", "/loras/import"),
    Ask("PATCH", "/loras/{lora_id}", "/loras/{p}:night", {}),
    Ask("GET", "/loras/{lora_id}/rollback", "/loras/{p}:night/rollback"),
    Ask("PUT", "/producers/{producer_id}", "/producers/{p}", {}),
    Ask("DELETE", "/metrics"),
)


def seed(storage: Storage) -> None:
    """Everything that a producer can have, for both, as if nothing had been deleted."""
    jobs = Jobs(storage)
    for producer in PRODUCERS.values():
        job = f"{producer}-job"
        path = keys.upload(producer, "takes", "a.wav")
        record = {"schema": 2, "producer_id": producer, "job_id": job, "files": [], "segments": []}
        report = {"schema": 1, "job_id": job, "complete": True, "verdict": None, "unmeasured": []}
        storage.put(path, SONG)
        storage.put(keys.training_record(producer), json.dumps(record).encode())
        storage.put(keys.output(producer, "track", "wav"), SONG)
        storage.put(keys.report(job), json.dumps(report).encode())
        storage.put(keys.preview(job, "step_8.mp3"), b"as good as a sound")
        header = Header(producer, "night", "ace_step", "x", "0" * 64, 1, job, "2026-01-01T00:00:00+00:00", "1" * 64)
        tensors = save({"base_model.model.x.lora_A.weight": np.zeros((1, 1), np.float32)}, header.to_metadata())
        storage.put(keys.lora(producer, "night"), seal(tensors))
        storage.put(keys.lora_owner(producer, "night"), header.lora_id.encode())
        if storage.stat(keys.job_record(job)) is None:
            wanted = TrainRequest(producer_id=producer, upload_paths=[keys.to_path(path)], job_id=job, model_name="x")
            jobs.create(wanted, "ace_step")
            jobs.name_task(job, f"{producer}-task")
            jobs.fail(job, "it was made for a test")
            # A failed one could be resumed, which would start a training.
            stored = json.loads(storage.get(keys.job_record(job)))
            storage.put(keys.job_record(job), json.dumps(stored | {"state": "done"}).encode())


def measured(api: Api, storage: Storage) -> Table:
    """The status codes, by request and client."""
    table: Table = {f"{ask.method} {ask.route} ({whose})": {} for ask in (*ASKS, *OTHERS) for whose in PRODUCERS}

    def ask_all(who: str, headers: dict[str, str]) -> None:
        for ask in (*ASKS, *OTHERS):
            for whose, producer in PRODUCERS.items():
                status = ask.sent(api.client, producer, headers)
                table[f"{ask.method} {ask.route} ({whose})"][who] = status
                if ask.method == "DELETE":
                    seed(storage)

    ask_all("this machine, no keys", {})
    ask_all("elsewhere, no keys", {"x-forwarded-for": "203.0.113.7"})
    made = {
        "key: generate": api_keys.create(storage, "g", ["generate"]),
        "key: train": api_keys.create(storage, "t", ["train"]),
        "key: admin": api_keys.create(storage, "a", ["admin"]),
        "key: generate, own": api_keys.create(storage, "go", ["generate"], ["ada"]),
        "key: generate and train, own": api_keys.create(storage, "gto", ["generate", "train"], ["ada"]),
        "key: admin, own": api_keys.create(storage, "ao", ["admin"], ["ada"]),
        "key: web app": api_keys.create(storage, "w", ["generate", "train"], names_visitors=True),
        "key: revoked": api_keys.create(storage, "r", ["admin"]),
    }
    api_keys.revoke(storage, made["key: revoked"].split("_")[1])
    admin = {"authorization": f"Bearer {made['key: admin']}"}
    # The server reads its keys anew within some seconds.
    wait_until(lambda: api.client.get("/backends").status_code == 401)
    wait_until(lambda: api.client.get("/backends", headers=admin).status_code == 200)
    ask_all("no key", {})
    for who, token in made.items():
        visitor = {"x-visitor-address": "203.0.113.7"} if who == "key: web app" else {}
        ask_all(who, {"authorization": f"Bearer {token}"} | visitor)
    return table


@contextmanager
def a_service(folder: Path, tiny: dict[str, str]) -> Iterator[tuple[Api, Storage]]:
    (folder / "data").mkdir()
    storage = open_storage((folder / "data").as_uri())
    seed(storage)
    with running(folder, tiny | {"KEY_REQUESTS_PER_MINUTE": "100000"}, ("ace_step",)) as api:
        yield api, storage


def test_permissions_are_those_of_the_snapshot(tmp_path: Path, tiny: dict[str, str]) -> None:
    with a_service(tmp_path, tiny) as (api, storage):
        documented = {
            f"{method.upper()} {path}" for path, methods in api.get("/docs.json")["paths"].items() for method in methods
        }
        assert {f"{ask.method} {ask.route}" for ask in ASKS} == documented, "a route is missing here"
        found = measured(api, storage)
    expected: Table = json.loads(SNAPSHOT.read_text())
    assert found.keys() == expected.keys()
    changed = {
        f"{ask}, {who}": (status, found[ask][who])
        for ask, statuses in expected.items()
        for who, status in statuses.items()
        if found[ask].get(who) != status
    }
    assert not changed, "(before, now); if it is meant: python -m tests.integration.test_permissions"


def _text(table: Table) -> str:
    """A line for each request."""
    return re.sub(r"\n  +| *\n (?=})", " ", json.dumps(table, indent=1)).replace(" }", "}") + "\n"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name, tempfile.TemporaryDirectory() as store:
        os.environ["BENTOML_HOME"] = store
        with a_service(Path(name), tiny_checkpoints(Path(name))) as (api, storage):
            SNAPSHOT.write_text(_text(measured(api, storage)))
