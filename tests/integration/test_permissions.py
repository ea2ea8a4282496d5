"""Who may use which route, as a table: every route, asked by every kind of client, for its own producer and another's.

`permissions.json` holds the status codes of a service without sign-in, `permissions_signed_in.json` those of one whose
users sign in, and which serves anonymous people too. After a change that is meant, write both anew and read the
difference:

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

from api.auth import keys as api_keys
from contract import TrainRequest
from scripts.serving import tiny_checkpoints
from storage import Storage, keys, open_storage
from storage.producers import Owner, Producers
from tests.api import Api, beat, running, wait_until
from tests.issuer import AUDIENCE, Issuer, served_issuer
from tests.signed_in import store_twin
from tests.tracks import a_record
from training.jobs.store import Jobs

SNAPSHOT = Path(__file__).with_name("permissions.json")
SIGNED_IN_SNAPSHOT = Path(__file__).with_name("permissions_signed_in.json")
SONG = beat(1, rate=8000, channels=1)
PRODUCERS = {"own": "ada", "other": "bob"}
Table = dict[str, dict[str, int]]


@dataclass(frozen=True)
class Ask:
    """A request that changes nothing, unless it is a DELETE, whose objects `seed` stores again.

    Attributes:
        route: as the OpenAPI document names it.
        url: where it differs from the route; `{p}` stands for the producer's id, `{m}` for the folder of the tracks
            that their user made.
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

    def sent(self, client: httpx.Client, producer: str, headers: dict[str, str], issuer: str) -> int:
        url = (self.url or self.route).replace("{p}", producer).replace("{m}", tracks_of(producer, issuer))
        if self.form:
            data = {name: value.replace("{p}", producer) for name, value in self.form.items()}
            files = {self.file: ("x.txt", b"neither a sound nor an adapter")}
            return client.request(self.method, url, data=data, files=files, headers=headers).status_code
        body = None if self.body is None else json.loads(json.dumps(self.body).replace("{p}", producer))
        return client.request(self.method, url, json=body, headers=headers).status_code


def user_of(producer: str, issuer: str) -> Owner:
    return Owner(issuer, f"{producer}-sub")


def tracks_of(producer: str, issuer: str) -> str:
    return f"user-{user_of(producer, issuer).digest}"


_TRAIN = {"producer_id": "{p}", "upload_paths": ["/data/uploads/{p}/takes/gone.wav"], "max_steps": 1}
_UPLOAD = {"producer_id": "{p}", "content_base64": "bm8gc291bmQ="}
_PUBLIC = {"prompt": "x", "lora_id": "{p}:open", "duration_seconds": 1}
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
    Ask("GET", "/jobs/{job_id}/result", "/jobs/{p}-job/result"),
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
    Ask("POST", "/generate/submit", body={"prompt": "x", "lora_id": "{p}:night", "duration_seconds": 1}),
    Ask(
        "POST",
        "/generate/form/submit",
        form={"prompt": "x", "lora_id": "{p}:night", "task": "repaint", "start": "1"},
        file="source",
    ),
    Ask("GET", "/queue/{request_id}", "/queue/{p}-track"),
    Ask("GET", "/data/outputs/{path}", "/data/outputs/twins/{p}/track.wav"),
    Ask("GET", "/tracks", "/tracks?producer_id={p}"),
    Ask("GET", "/tracks/{track_id}", "/tracks/twins:{p}:track"),
    Ask("PATCH", "/tracks/{track_id}", "/tracks/twins:{p}:track", {}),
    Ask("DELETE", "/tracks/{track_id}", "/tracks/twins:{p}:track"),
    Ask("GET", "/tracks/{track_id}/peaks", "/tracks/twins:{p}:track/peaks"),
    Ask("GET", "/tracks/{track_id}/events", "/tracks/twins:{p}:track/events"),
    Ask("GET", "/tracks/{track_id}/stream", "/tracks/twins:{p}:track/stream"),
    Ask("GET", "/webhooks"),
    Ask("GET", "/backends"),
    Ask("GET", "/loras", "/loras?producer_id={p}"),
    Ask("POST", "/loras/import", form={"producer_id": "{p}", "model_name": "new"}),
    Ask("GET", "/loras/{lora_id}", "/loras/{p}:night"),
    Ask("DELETE", "/loras/{lora_id}", "/loras/{p}:night"),
    Ask("GET", "/loras/{lora_id}/versions", "/loras/{p}:night/versions"),
    Ask("POST", "/loras/{lora_id}/rollback", "/loras/{p}:night/rollback", {"version": "1" * 16}),
    Ask("POST", "/loras/{lora_id}/retrain", "/loras/{p}:night/retrain", {}),
    Ask("GET", "/loras/{lora_id}/file", "/loras/{p}:night/file"),
    Ask("GET", "/producers"),
    Ask("GET", "/producers/{producer_id}", "/producers/{p}"),
    Ask("PUT", "/producers/{producer_id}", "/producers/{p}", {}),
    Ask("GET", "/producers/{producer_id}/usage", "/producers/{p}/usage"),
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
    Ask("DELETE", "/metrics"),
    Ask("POST", "/generate with a public twin", "/generate", _PUBLIC),
    Ask("GET", "/loras/{lora_id} of a public twin", "/loras/{p}:open"),
    Ask("GET", "/loras/{lora_id}/file of a public twin", "/loras/{p}:open/file"),
    Ask("GET", "/data/outputs/{path} that a user made", "/data/outputs/made/{m}/track.wav"),
    Ask("GET", "/tracks/{track_id} that a user made", "/tracks/made:{m}:track"),
    Ask("PATCH", "/tracks/{track_id} that a user made", "/tracks/made:{m}:track", {}),
    Ask("DELETE", "/tracks/{track_id} that a user made", "/tracks/made:{m}:track"),
)


def seed(storage: Storage, issuer: str = "https://issuer.example") -> None:
    """Everything that a producer can have, for both, as if nothing had been deleted."""
    jobs, producers = Jobs(storage), Producers(storage)
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
        storage.put(keys.output(None, "track", "wav", tracks_of(producer, issuer)), SONG)
        for track in (f"twins:{producer}:track", f"made:{tracks_of(producer, issuer)}:track"):
            stored_at = keys.to_path(keys.track_of(track) or "")
            of_track = a_record().model_copy(update={"track_id": track, "output_path": stored_at})
            storage.put(of_track.stored_at, of_track.encoded())
        for model in ("night", "open"):
            store_twin(storage, producer, model, job)
        producers.assign(producer, user_of(producer, issuer))
        producers.change(producer, {"open": "public"})
        if storage.stat(keys.job_record(job)) is None:
            wanted = TrainRequest(producer_id=producer, upload_paths=[keys.to_path(path)], job_id=job, model_name="x")
            jobs.create(wanted, "ace_step")
            jobs.name_task(job, f"{producer}-task")
            jobs.fail(job, "it was made for a test")
            # A failed one could be resumed, which would start a training.
            stored = json.loads(storage.get(keys.job_record(job)))
            storage.put(keys.job_record(job), json.dumps(stored | {"state": "done"}).encode())


class Measured:
    """The status codes, by request and client.

    Attributes:
        table: as the snapshots have it.
    """

    def __init__(self, api: Api, storage: Storage, issuer: str = "https://issuer.example") -> None:
        self.api, self.storage, self.issuer = api, storage, issuer
        names = [f"{ask.method} {ask.route} ({whose})" for ask in (*ASKS, *OTHERS) for whose in PRODUCERS]
        self.table: Table = {name: {} for name in names}

    def ask_all(self, who: str, headers: dict[str, str]) -> None:
        for ask in (*ASKS, *OTHERS):
            for whose, producer in PRODUCERS.items():
                status = ask.sent(self.api.client, producer, headers, self.issuer)
                self.table[f"{ask.method} {ask.route} ({whose})"][who] = status
                if ask.method == "DELETE":
                    seed(self.storage, self.issuer)


def measured(api: Api, storage: Storage) -> Table:
    found = Measured(api, storage)
    found.ask_all("this machine, no keys", {})
    found.ask_all("elsewhere, no keys", {"x-forwarded-for": "203.0.113.7"})
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
    found.ask_all("no key", {})
    for who, token in made.items():
        visitor = {"x-visitor-address": "203.0.113.7"} if who == "key: web app" else {}
        found.ask_all(who, {"authorization": f"Bearer {token}"} | visitor)
    return found.table


def measured_signed_in(api: Api, storage: Storage, issuer: Issuer) -> Table:
    found = Measured(api, storage, issuer.url)
    found.ask_all("local", {})
    found.ask_all("anonymous", {"x-forwarded-for": "203.0.113.7"})
    tokens = {
        "key: generate and train": api_keys.create(storage, "gt", ["generate", "train"]),
        "key: admin, own": api_keys.create(storage, "ao", ["admin"], ["ada"]),
        "token: owner": issuer.token("ada-sub"),
        "token: owner by claim": issuer.token("team", app_metadata={"producer_ids": ["ada"]}),
        "token: another": issuer.token("eve-sub"),
        "token: admin": issuer.token("root", app_metadata={"role": "admin"}),
        "token: expired": issuer.token("ada-sub", exp=1),
    }
    # The server reads its keys anew within some seconds.
    key = {"authorization": f"Bearer {tokens['key: admin, own']}"}
    wait_until(lambda: api.client.get("/backends", headers=key).status_code == 200)
    for who, token in tokens.items():
        found.ask_all(who, {"authorization": f"Bearer {token}"})
    return found.table


@contextmanager
def a_service(folder: Path, tiny: dict[str, str], issuer: Issuer | None = None) -> Iterator[tuple[Api, Storage]]:
    (folder / "data").mkdir(parents=True)
    storage = open_storage((folder / "data").as_uri())
    signs_in: dict[str, str] = {}
    if issuer:
        signs_in = {"AUTH_ISSUER": issuer.url, "AUTH_AUDIENCE": AUDIENCE, "ALLOW_ANONYMOUS": "true"}
        seed(storage, issuer.url)
    else:
        seed(storage)
    with running(folder, tiny | {"KEY_REQUESTS_PER_MINUTE": "100000"} | signs_in, ("ace_step",)) as api:
        yield api, storage


def test_permissions_are_those_of_the_snapshot(tmp_path: Path, tiny: dict[str, str]) -> None:
    with a_service(tmp_path, tiny) as (api, storage):
        documented = {
            f"{method.upper()} {path}" for path, methods in api.get("/docs.json")["paths"].items() for method in methods
        }
        assert {f"{ask.method} {ask.route}" for ask in ASKS} == documented, "a route is missing here"
        found = measured(api, storage)
    check(found, SNAPSHOT)


def test_permissions_where_users_sign_in_are_those_of_the_snapshot(tmp_path: Path, tiny: dict[str, str]) -> None:
    with served_issuer() as issuer, a_service(tmp_path, tiny, issuer) as (api, storage):
        found = measured_signed_in(api, storage, issuer)
    check(found, SIGNED_IN_SNAPSHOT)


def check(found: Table, snapshot: Path) -> None:
    expected: Table = json.loads(snapshot.read_text())
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
        tiny_ones = tiny_checkpoints(Path(name))
        with a_service(Path(name, "plain"), tiny_ones) as (api, storage):
            SNAPSHOT.write_text(_text(measured(api, storage)))
        with served_issuer() as issuer, a_service(Path(name, "signed-in"), tiny_ones, issuer) as (api, storage):
            SIGNED_IN_SNAPSHOT.write_text(_text(measured_signed_in(api, storage, issuer)))
