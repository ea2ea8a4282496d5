"""Requests that must be refused: another producer's objects, missing scopes, traversal, SSRF, hostile files."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
import zlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import soundfile

from tests.api import as_base64
from tests.integration.attacks.conftest import SONG


@dataclass(frozen=True)
class Attack:
    """A request that must be refused.

    Attributes:
        name: what it tries.
        method, path, body, options: the request.
        statuses: those that refuse it.
        who: whose key it is sent with.
    """

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
    """A FLAC of a second whose header says 20 h."""
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
    # Another producer's objects
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
    # Scopes that the key lacks
    Attack("train with a key for listening", "POST", "/train/submit", (403,), TRAIN, "ada listens"),
    Attack("upload with a key for listening", "POST", "/store-upload", (403,), UPLOAD, "ada listens"),
    Attack("see jobs with a key for listening", "GET", "/jobs", (403,), None, "ada listens"),
    Attack("take a twin with a key for listening", "GET", "/loras/ada:night/file", (403,), None, "ada listens"),
    Attack("metrics without being the operator", "GET", "/metrics", (403,)),
    Attack("a revoked key", "GET", "/backends", (401,), None, "revoked"),
    # Path traversal
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
    # SSRF
    urls("this machine", "http://127.0.0.1:22/x.wav"),
    urls("this machine in decimal", "http://2130706433/x.wav"),
    urls("this machine in IPv6", "http://[::ffff:7f00:1]/x.wav"),
    urls("the cloud's metadata", "http://169.254.169.254/latest/meta-data/"),
    urls("the private network", "https://10.0.0.1/x.wav"),
    urls("a file", "file:///etc/passwd"),
    urls("with credentials", "http://user:pass@example.com/x.wav"),
    urls("by a line's end", "http://example.com/\r\nHost: 127.0.0.1"),
    # Hostile files
    upload("a FLAC that claims 20 h", 400, content_base64=as_base64(_flac_bomb())),
    upload("a zip bomb", 400, content_base64=as_base64(_zip_bomb())),
    upload("a pickle", 400, content_base64=as_base64(pickle.dumps(_Mischief()))),
    upload("a playlist", 400, content_base64=as_base64(b"#EXTM3U\nfile:///etc/passwd\n" * 100)),
    # Hostile bodies
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
