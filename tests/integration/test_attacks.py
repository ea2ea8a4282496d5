"""What a client with a key for one producer tries on another's things and on the machine, against a real server.

Each attempt must end in the refusal that it names, change nothing in storage, and tell nothing that it should not.
"""

from __future__ import annotations

import base64
import io
import json
import pickle
import re
import socket
import time
import zipfile
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile
from safetensors.numpy import save

from adapters.adapter_file import Header, seal
from api.auth import keys as api_keys
from api.routes.table import ROUTES
from contract import TrainRequest
from storage import Storage, keys, open_storage
from tests.api import PATIENCE, Api, as_base64, beat, error_of, running, wait_until
from training.jobs.store import Jobs

SONG = beat(1, rate=8000, channels=1)
SECRET = "only-bob-knows"


@dataclass(frozen=True)
class Guarded:
    """A server with keys. Bob has everything that a producer can have; Ada has a key, and the same names."""

    api: Api
    tokens: dict[str, str]

    def ask(self, who: str, method: str, path: str, **options: Any) -> httpx.Response:
        headers = {**options.pop("headers", {}), "authorization": f"Bearer {self.tokens[who]}"}
        return self.api.client.request(method, path, headers=headers, **options)


def _twin(storage: Storage, producer: str, model: str) -> None:
    header = Header(producer, model, "ace_step", SECRET, "0" * 64, 1, "job", "2026-01-01T00:00:00+00:00", "1" * 64)
    data = seal(save({"base_model.model.x.lora_A.weight": np.zeros((1, 1), np.float32)}, header.to_metadata()))
    storage.put(keys.lora(producer, model), data)
    storage.put(keys.lora_owner(producer, model), header.lora_id.encode())


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, tiny: dict[str, str]) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("guarded")
    (folder / "data").mkdir()
    storage = open_storage((folder / "data").as_uri())
    tokens = {
        "ada": api_keys.create(storage, "ada", ["generate", "train"], ["ada"], jobs_at_once=1),
        "ada listens": api_keys.create(storage, "ada listens", ["generate"], ["ada"]),
        "bob": api_keys.create(storage, "bob", ["generate", "train"], ["bob"]),
        "operator": api_keys.create(storage, "operator", ["admin"]),
        "revoked": api_keys.create(storage, "revoked", ["admin"]),
    }
    api_keys.revoke(storage, tokens["revoked"].split("_")[1])
    for producer in ("ada", "bob"):
        storage.put(keys.upload(producer, "takes", f"{producer}.wav"), SONG)
        record: dict[str, Any] = {
            "schema": 2,
            "producer_id": producer,
            "job_id": "job",
            "files": [],
            "segments": [],
            "secret": SECRET,
        }
        storage.put(keys.training_record(producer), json.dumps(record).encode())
        storage.put(keys.output(producer, "track", "wav"), SONG)
        _twin(storage, producer, "night")
    path = keys.to_path(keys.upload("bob", "takes", "bob.wav"))
    _twin(storage, "ada_night", "x")
    jobs = Jobs(storage)
    jobs.create(TrainRequest(producer_id="bob", upload_paths=[path], job_id="bobs-job", model_name="night"), "ace_step")
    jobs.name_task("bobs-job", "bobs-task")
    jobs.fail("bobs-job", SECRET)
    environment = tiny | {"ALLOW_NONCOMMERCIAL": "false", "LOG_FORMAT": "json", "MAX_DURATION_SECONDS": "60"}
    with running(folder, environment, ("ace_step",), tokens["operator"]) as api:
        yield Guarded(api, tokens)


@dataclass(frozen=True)
class Attack:
    """A request of `who`, and the statuses that refuse it. `data` makes a body only where the test runs."""

    name: str
    method: str
    path: str
    statuses: tuple[int, ...]
    body: Any = None
    who: str = "ada"
    options: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name


TRAIN: dict[str, Any] = {"producer_id": "ada", "upload_paths": ["/data/uploads/ada/takes/ada.wav"], "max_steps": 1}
GENERATE: dict[str, Any] = {"prompt": "x", "duration_seconds": 1}
UPLOAD: dict[str, Any] = {"producer_id": "ada", "content_base64": as_base64(SONG)}


def _flac_bomb() -> bytes:
    """Claims 20 h in a few bytes."""
    file = io.BytesIO()
    soundfile.write(file, np.zeros((44_100, 1)), 44_100, format="FLAC")
    data = bytearray(file.getvalue())
    frames = 20 * 3600 * 44_100
    data[21] = (data[21] & 0xF0) | (frames >> 32)
    data[22:26] = (frames & 0xFFFFFFFF).to_bytes(4, "big")
    return bytes(data)


def _zip_bomb() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("beat.wav", bytes(20_000_000))
    return file.getvalue()


class _Mischief:
    def __reduce__(self) -> Any:
        return (exec, ("open('/tmp/pwned-by-pickle', 'w')",))


def upload(name: str, *statuses: int, **changes: Any) -> Attack:
    return Attack(name, "POST", "/store-upload", statuses, UPLOAD | changes)


def train(name: str, *statuses: int, **changes: Any) -> Attack:
    body = {key: value for key, value in (TRAIN | changes).items() if value is not None}
    return Attack(name, "POST", "/train/submit", statuses, body)


def urls(name: str, url: str) -> Attack:
    return train(f"fetch {name}", 400, upload_paths=None, upload_urls=[url])


ATTACKS = [
    # Another producer's things
    Attack("read another's job", "GET", "/jobs/bobs-job", (404,)),
    Attack("read another's job by its task", "GET", "/jobs/bobs-task", (404,)),
    Attack("ask for another's task", "GET", "/train/status?task_id=bobs-task", (404,)),
    Attack("get another's task", "GET", "/train/get?taskId=bobs-task", (404,)),
    Attack("read another's dataset", "GET", "/datasets/bob", (404,)),
    Attack("look at another's twin", "GET", "/loras/bob:night", (404,)),
    Attack("list another's versions", "GET", "/loras/bob:night/versions", (404,)),
    Attack("download another's twin", "GET", "/loras/bob:night/file", (404,)),
    Attack("delete another's twin", "DELETE", "/loras/bob:night", (404,)),
    Attack("roll another's twin back", "POST", "/loras/bob:night/rollback", (404,), {"version": "1" * 16}),
    Attack("play another's twin", "POST", "/generate", (404,), GENERATE | {"lora_id": "bob:night"}),
    Attack("play another's version", "POST", "/generate", (404,), GENERATE | {"lora_id": "bob:night@" + "1" * 16}),
    Attack(
        "blend a bit of another's twin",
        "POST",
        "/generate",
        (404,),
        GENERATE | {"loras": [{"lora_id": "ada:night", "weight": 1}, {"lora_id": "bob:night", "weight": 0.01}]},
    ),
    Attack("train another's twin again", "POST", "/loras/bob:night/retrain", (404,), {}),
    Attack("see what another has", "GET", "/producers/bob", (404,)),
    Attack("delete all that another has", "DELETE", "/producers/bob", (403, 404)),
    Attack(
        "import a twin as another",
        "POST",
        "/loras/import",
        (403,),
        options={
            "files": {"file": ("x.safetensors", b"x")},
            "data": {"producer_id": "bob", "model_name": "night", "backend": "ace_step"},
        },
    ),
    Attack(
        "import a pickle as a twin",
        "POST",
        "/loras/import",
        (400,),
        options={
            "files": {"file": ("x.bin", pickle.dumps(["a"]))},
            "data": {"producer_id": "ada", "model_name": "evil", "backend": "ace_step"},
        },
    ),
    Attack("hear another's track", "GET", "/data/outputs/twins/bob/track.wav", (404,)),
    upload("upload as another", 403, producer_id="bob"),
    upload("upload over another's file", 403, producer_id="bob", job_id="takes", filename="bob.wav"),
    Attack("a link to upload as another", "POST", "/uploads/link", (403,), {"producer_id": "bob", "bytes": 5}),
    train("train as another", 403, producer_id="bob"),
    train("train on another's file", 404, upload_paths=["/data/uploads/bob/takes/bob.wav"]),
    train("take another's job id", 409, job_id="bobs-job"),
    train("take another's file name", 409, model_name="night_x"),
    # Beyond the key
    Attack("train with a key for listening", "POST", "/train/submit", (403,), TRAIN, "ada listens"),
    Attack("upload with a key for listening", "POST", "/store-upload", (403,), UPLOAD, "ada listens"),
    Attack("see jobs with a key for listening", "GET", "/jobs", (403,), None, "ada listens"),
    Attack("take a twin with a key for listening", "GET", "/loras/ada:night/file", (403,), None, "ada listens"),
    Attack("metrics without being the operator", "GET", "/metrics", (403,)),
    Attack("a revoked key", "GET", "/backends", (401,), None, "revoked"),
    # Ways out of the tree
    Attack("traversal in a dataset's name", "GET", "/datasets/..%2f..%2fapi_keys", (404, 403)),
    Attack("traversal in a job's name", "GET", "/jobs/..%2fapi_keys%2fx", (404, 403)),
    Attack("traversal in a twin's name", "GET", "/loras/..%2f..%2fx:y", (404,)),
    Attack("traversal in a track's name", "GET", "/data/outputs/base/..%2f..%2fapi_keys/x.json", (404,)),
    Attack("traversal, twice encoded", "GET", "/data/outputs/base/%252e%252e/%252e%252e/api_keys", (404,)),
    Attack("another folder than the tracks'", "GET", "/data/api_keys/x.json", (404, 403)),
    Attack("listen to all uploads", "GET", "/uploads/analysis?path=/data/uploads", (404,)),
    Attack("listen to another's upload", "GET", "/uploads/analysis?path=/data/uploads/bob/takes/bob.wav", (404,)),
    Attack("another's uploads by their path", "GET", "/data/uploads/bob/takes/bob.wav", (404, 403)),
    train("traversal in a path", 400, upload_paths=["/data/uploads/ada/../bob/takes/bob.wav"]),
    train("a path of the machine", 400, upload_paths=["/etc/passwd"]),
    train("the keys as a path", 404, upload_paths=["/data/api_keys/x.json"]),
    train("traversal in a model's name", 400, model_name="../x"),
    train("traversal in a job's name", 400, job_id="../x"),
    upload("traversal in a producer's name", 400, producer_id="../ada"),
    upload("only traversal in a file's name", 400, filename="../.."),
    upload("nul in a file's name", 400, filename="\0"),
    # Addresses inside
    urls("this machine", "http://127.0.0.1:22/x.wav"),
    urls("this machine in decimal", "http://2130706433/x.wav"),
    urls("this machine in IPv6", "http://[::ffff:7f00:1]/x.wav"),
    urls("the cloud's metadata", "http://169.254.169.254/latest/meta-data/"),
    urls("the private network", "https://10.0.0.1/x.wav"),
    urls("a file", "file:///etc/passwd"),
    urls("with credentials", "http://user:pass@example.com/x.wav"),
    urls("by a line's end", "http://example.com/\r\nHost: 127.0.0.1"),
    # Files
    upload("a FLAC that claims 20 h", 400, content_base64=as_base64(_flac_bomb())),
    upload("a zip bomb", 400, content_base64=as_base64(_zip_bomb())),
    upload("a pickle", 400, content_base64=as_base64(pickle.dumps(_Mischief()))),
    upload("a playlist", 400, content_base64=as_base64(b"#EXTM3U\nfile:///etc/passwd\n" * 100)),
    # Bodies
    Attack("JSON without end", "POST", "/generate", (400,), options={"content": b"[" * 90_000}),
    Attack("more values than anyone needs", "POST", "/generate", (413,), options={"content": b"[" * 200_000}),
    Attack("more JSON than anyone needs", "POST", "/generate", (413,), options={"content": b" " * (9 * 2**20)}),
    Attack(
        "a compressed body",
        "POST",
        "/generate",
        (400,),
        options={"content": zlib.compress(json.dumps(GENERATE).encode()), "headers": {"content-encoding": "deflate"}},
    ),
    Attack("a number without end", "POST", "/generate", (400,), {"prompt": "x", "duration_seconds": 10**400}),
    Attack("a prompt without end", "POST", "/generate", (400,), {"prompt": "x" * 1_000_000}),
    Attack(
        "a pickle for BentoML",
        "POST",
        "/generate",
        (415,),
        options={
            "content": pickle.dumps({"prompt": _Mischief()}),
            "headers": {"content-type": "application/vnd.bentoml+pickle"},
        },
    ),
    Attack(
        "metadata without end", "POST", "/train/submit", (400,), TRAIN | {"metadata_per_file": [{"x": "y" * 100_000}]}
    ),
    Attack(
        "metadata without bottom",
        "POST",
        "/train/submit",
        (400,),
        options={
            "content": json.dumps(TRAIN)[:-1].encode()
            + b', "metadata_per_file": [{"x": '
            + b"[" * 120
            + b"]" * 120
            + b"}]}"
        },
    ),
]


@pytest.mark.parametrize("attack", ATTACKS, ids=str)
def test_it_is_refused_and_changes_nothing(guarded: Guarded, attack: Attack) -> None:
    before = guarded.api.stored()
    options = dict(attack.options)
    if attack.body is not None:
        options["content"] = json.dumps(attack.body)
    if "content" in options:
        options["headers"] = {"content-type": "application/json"} | options.get("headers", {})
    answer = guarded.ask(attack.who, attack.method, attack.path, **options)
    error = error_of(answer, answer.status_code)
    assert answer.status_code in attack.statuses, error
    assert SECRET not in error
    assert "ada_night:" not in error
    assert guarded.api.stored() == before
    assert not Path("/tmp/pwned-by-pickle").exists()


def test_no_route_leads_to_anothers(guarded: Guarded) -> None:
    """Whatever routes there are, and come to be: one that names a producer or a job is closed to the others."""
    names = {"{producer_id}": "bob", "{lora_id}": "bob:night", "{job_id}": "bobs-job"}
    tried = 0
    for route in ROUTES:
        path = route.path
        if not any(name in path for name in names):
            continue
        for name, value in names.items():
            path = path.replace(name, value)
        path = re.sub(r"\{.*?\}", "x", path)
        for method in (route.method, "HEAD") if route.method == "GET" else (route.method,):
            before = guarded.api.stored()
            answer = guarded.ask("ada", method, path, json={"version": "1" * 16})
            assert answer.status_code in (403, 404), (method, path, answer.text)
            assert SECRET not in answer.text
            assert guarded.api.stored() == before
            tried += 1
    assert tried >= 8


def test_what_is_anothers_answers_like_what_is_not_there(guarded: Guarded) -> None:
    """But for the name, the same words: nobody can find out by asking which names there are."""
    for method, path, body in (
        ("GET", "/jobs/{}-job", None),
        ("GET", "/datasets/{}", None),
        ("GET", "/loras/{}:night", None),
        ("DELETE", "/loras/{}:night", None),
        ("GET", "/loras/{}:night/versions", None),
        ("GET", "/data/outputs/twins/{}/track.wav", None),
        ("POST", "/generate", GENERATE | {"lora_id": "{}:night"}),
        ("POST", "/store-upload", UPLOAD | {"producer_id": "{}"}),
    ):
        words = []
        for name in ("bob", "eve", "bobs", "eves"):
            filled = json.loads(json.dumps(body).replace("{}", name)) if body else None
            answer = guarded.ask("ada", method, path.format(name), json=filled)
            words.append((answer.status_code, answer.json()["error"].replace(name, "?")))
        assert len(set(words)) == 1, words


def test_lists_hold_ones_own_only(guarded: Guarded) -> None:
    for query in ("", "?producer_id=bob", "?producer_id=ada"):
        loras = guarded.ask("ada", "GET", f"/loras{query}")
        jobs = guarded.ask("ada", "GET", f"/jobs{query}")
        assert {row["producer_id"] for row in loras.json()["loras"]} <= {"ada"}
        assert jobs.json()["jobs"] == []
        assert SECRET not in jobs.text
    assert len(guarded.ask("operator", "GET", "/loras").json()["loras"]) == 3
    assert len(guarded.ask("bob", "GET", "/jobs").json()["jobs"]) == 1


def test_ones_own_is_served(guarded: Guarded) -> None:
    """The guards keep nobody from what is theirs."""
    for who, producer in (("ada", "ada"), ("bob", "bob"), ("operator", "bob")):
        assert guarded.ask(who, "GET", f"/loras/{producer}:night").status_code == 200
        assert guarded.ask(who, "GET", f"/datasets/{producer}").json()["producer_id"] == producer
        assert guarded.ask(who, "GET", f"/data/outputs/twins/{producer}/track.wav").content == SONG
    assert guarded.ask("bob", "GET", "/jobs/bobs-task").json()["job_id"] == "bobs-job"
    assert guarded.ask("operator", "GET", "/metrics").status_code == 200
    made = guarded.ask("ada listens", "POST", "/generate", json=GENERATE)
    assert base64.b64decode(made.json()["audio_base64"])[:4] == b"RIFF"


def test_ones_place_in_the_queue_is_ones_own(guarded: Guarded) -> None:
    """Also of another key that is for the same producer: who knows the id needs the key as well."""
    body, name = GENERATE | {"duration_seconds": 60, "steps": 100}, {"x-request-id": "adas-track"}
    with ThreadPoolExecutor(1) as pool:
        made = pool.submit(guarded.ask, "ada", "POST", "/generate", json=body, headers=name)
        while not made.done() and guarded.ask("ada", "GET", "/queue/adas-track").status_code == 404:
            time.sleep(0.02)
        others = [guarded.ask(who, "GET", "/queue/adas-track") for who in ("ada listens", "bob", "operator")]
        own = guarded.ask("ada", "GET", "/queue/adas-track")
        assert not made.done() and own.status_code == 200
        assert own.json()["request_id"] == "adas-track"
        for answer in others:
            assert "adas-track" in error_of(answer, 404)
        assert made.result().status_code == 200


def test_a_key_has_so_many_jobs_at_once(guarded: Guarded) -> None:
    jobs = Jobs(open_storage(guarded.api.folder.as_uri()))
    request = TrainRequest(**TRAIN | {"job_id": "adas-first"})
    jobs.create(request, "ace_step")
    answer = guarded.ask("ada", "POST", "/train/submit", json=TRAIN | {"job_id": "adas-second"})
    assert "1 jobs" in error_of(answer, 429)
    assert int(answer.headers["retry-after"]) > 0
    assert not (guarded.api.folder / keys.job_record("adas-second")).exists()
    jobs.fail("adas-first", "enough")


RAW = {
    "two lengths": b"POST /generate HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 50\r\n\r\nhello",
    "a length and chunks": (
        b"POST /generate HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"0\r\n\r\nGET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    ),
    "a folded header": b"GET /jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nX-A: b\r\n Authorization: Bearer x\r\n\r\n",
    "a length that is no number": b"POST /generate HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: +5\r\n\r\nhello",
    "an endless header": b"GET /jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nX-A: " + b"a" * 200_000 + b"\r\n\r\n",
}


@pytest.mark.parametrize("name", RAW)
def test_requests_within_requests(guarded: Guarded, name: str) -> None:
    """Whatever the server makes of them, nobody without a key gets an answer."""
    host, port = guarded.api.server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as line:
        got = b""
        try:
            line.sendall(RAW[name])  # the end of which a server may not want to read
            line.settimeout(1.5)
            while chunk := line.recv(65_536):
                got += chunk
        except (TimeoutError, ConnectionError):
            pass
    statuses = [int(part[1:4]) for part in got.split(b"HTTP/1.1")[1:]]
    assert all(status in (400, 401, 403, 413, 431) for status in statuses), got[:500]
    assert b"producer_twin" not in got


def test_the_log_holds_what_was_tried_and_no_secrets(guarded: Guarded) -> None:
    """A line each, as JSON, whatever a client writes into its path, names and id."""
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
    assert re.search(r'producer_twin_turn_rows_count\{backend="ace_step"\} [1-9]', text)  # from another process
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
