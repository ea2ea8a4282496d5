"""Every refusal in the contract: its status, its one sentence that names the field, and nothing written."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from adapters.library import Library
from contract import GenerateRequest
from core.errors import Refusal
from core.settings import Settings
from generation.outbox import Outbox
from generation.pipeline import Generation
from runners.clients import Runners
from runners.messages import RunnerState, TrackAnswer, TrackRequest
from storage import open_storage
from tests.api import PATIENCE, Api, Json, as_base64, beat, command_of, error_of, wait_until_ready
from tests.conftest import PASSWORD, Twin

JSON = {"content-type": "application/json"}
ID_64 = "i" * 64
BAD_IDS = {
    "empty": "",
    "a dot first": ".hidden",
    "two dots": "..",
    "a slash": "a/b",
    "a backslash": "a\\b",
    "a space": "a b",
    "a colon": "a:b",
    "a line's end": "a\n",
    "nul": "a\0",
    "umlaut": "mötley",
    "full-width letters": "ａｂｃ",
    "65 characters": ID_64 + "i",
    "a number": 5,
    "a list": ["a"],
}
SONG = as_base64(beat(1))
BAD_TEMPOS: list[Any] = [29, 301, "fast", True, "70/140", {}]


@dataclass(frozen=True)
class Case:
    """A request, and how it is refused. `names` are words of the sentence."""

    name: str
    path: str
    status: int
    names: tuple[str, ...]
    body: Any = None
    method: str = "POST"
    options: dict[str, Any] = field(default_factory=dict)

    def sent(self, client: httpx.Client) -> httpx.Response:
        if self.body is not None:
            # Not httpx's json, which refuses to write NaN.
            return client.request(self.method, self.path, content=json.dumps(self.body), headers=JSON, **self.options)
        return client.request(self.method, self.path, **self.options)

    def __str__(self) -> str:
        return f"{self.path}: {self.name}"


def cases(*made: Case) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", made, ids=str)


def assert_refused(api: Api, case: Case) -> httpx.Response:
    before = api.stored()
    answer = case.sent(api.client)
    error = error_of(answer, case.status)
    for name in case.names:
        assert name in error
    assert api.stored() == before
    return answer


# Bodies

BODIES = {
    "nothing": b"",
    "not JSON": b"{",
    "text": b"hello",
    "JSON that ends early": b'{"prompt": "x"',
    "an array": b"[]",
    "a string": b'"x"',
    "a number": b"5",
    "null": b"null",
    "not UTF-8": b'{"prompt": "\xff"}',
    "half a surrogate pair": b'{"prompt": "\\ud800"}',
    "nested too deep": b"[" * 100_000,
}
POSTS = ["/store-upload", "/train", "/train/submit", "/generate"]


@cases(
    *(
        Case(name, path, 400, (), options={"content": body, "headers": JSON})
        for path in POSTS
        for name, body in BODIES.items()
    )
)
def test_what_is_no_json_object(api: Api, case: Case) -> None:
    assert_refused(api, case)


@cases(
    *(
        Case(kind, path, 415, ("content-type",), options={"content": b"{}", "headers": {"content-type": kind}})
        for path in POSTS
        for kind in ("text/plain", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded", "audio/wav")
    )
)
def test_another_content_type(api: Api, case: Case) -> None:
    assert_refused(api, case)


# Upload

UPLOAD: Json = {"producer_id": "refused", "job_id": "j", "filename": "a.wav", "content_base64": SONG}


def upload(name: str, *names: str, status: int = 400, without: str = "", **changes: Any) -> Case:
    body = {key: value for key, value in (UPLOAD | changes).items() if key != without}
    return Case(name, "/store-upload", status, names, body)


@cases(
    upload("no producer", "producer_id", without="producer_id"),
    upload("null for the producer", "producer_id", producer_id=None),
    upload("no content", "content_base64", without="content_base64"),
    upload("an unknown field", "colour", colour="red"),
    upload("an unknown field in camel case", "artistName", artistName="x"),
    *(upload(f"producer: {name}", "producer_id", producer_id=bad) for name, bad in BAD_IDS.items()),
    *(upload(f"job: {name}", "job_id", job_id=bad) for name, bad in BAD_IDS.items()),
    upload("a producer in camel case", "producer_id", without="producer_id", producerId=".x"),
    *(upload(f"file name {bad!r}", "filename", filename=bad) for bad in ("", "/", "..", "a/..", "\\", ". .", "\x01")),
    upload("a file name of 256", "filename", filename="a" * 256),
    upload("a number for a file name", "filename", filename=5),
    upload("no base64", "content_base64", content_base64="!!!!"),
    upload("base64 without its padding", "content_base64", content_base64=SONG[:-1]),
    upload("base64 with umlauts", "content_base64", content_base64="üüüü"),
    upload("empty content", "content_base64", content_base64=""),
    upload("a number for content", "content_base64", content_base64=5),
    upload("text", "content_base64", content_base64=as_base64(b"hello, this is text and no audio" * 100)),
    upload("a file that is cut off", "content_base64", content_base64=as_base64(beat(1)[:-5000])),
    upload("a header with nothing behind it", "content_base64", content_base64=as_base64(beat(1)[:44])),
)
def test_uploads(api: Api, case: Case) -> None:
    assert_refused(api, case)


def test_other_bytes_at_the_same_path(api: Api) -> None:
    path = api.upload("refused", beat(1), job_id="taken", filename="a.wav")
    assert_refused(api, upload("", "filename", status=409, job_id="taken", content_base64=as_base64(beat(2))))
    assert api.file(path).read_bytes() == beat(1)


# Train


@pytest.fixture(scope="module")
def uploaded(api: Api, twins: dict[str, Twin]) -> None:
    """The uploads that the requests below name."""
    api.upload("refused", beat(1), job_id="j", filename="here.wav")
    api.upload("other", beat(1), job_id="j", filename="theirs.wav")
    api.upload("studio_ace", beat(1), job_id="j", filename="here.wav")


HERE = "/data/uploads/refused/j/here.wav"
TRAIN: Json = {"producer_id": "refused", "upload_paths": [HERE], "max_steps": 1}
PATHS = {
    "outside storage": (400, "/etc/passwd"),
    "upwards": (400, "/data/../etc/passwd"),
    "upwards from the uploads": (400, "/data/uploads/refused/../other/j/theirs.wav"),
    "hidden": (400, "/data/.locks/00"),
    "relative": (400, "uploads/refused/j/here.wav"),
    "empty": (400, ""),
    "a URL": (400, "https://example.com/a.wav"),
    "with NUL": (400, HERE + "\0"),
    "too long": (400, "/data/" + "a/" * 600 + "a"),
    "missing": (404, "/data/uploads/refused/j/gone.wav"),
    "a folder": (404, "/data/uploads/refused/j"),
    "another producer's": (404, "/data/uploads/other/j/theirs.wav"),
    "of no producer": (404, "/data/loras/studio_ace_twin.safetensors"),
}
URLS = {
    "loopback": "http://127.0.0.1/a.wav",
    "loopback with a port": "http://127.0.0.1:3000/a.wav",
    "loopback, short": "http://127.1/a.wav",
    "loopback as a number": "http://2130706433/a.wav",
    "loopback in hexadecimal": "http://0x7f000001/a.wav",
    "loopback of IPv6": "http://[::1]/a.wav",
    "loopback, mapped": "http://[::ffff:127.0.0.1]/a.wav",
    "private": "http://10.0.0.1/a.wav",
    "private, too": "https://192.168.1.1/a.wav",
    "link-local": "http://169.254.169.254/latest/meta-data",
    "link-local of IPv6": "http://[fe80::1]/a.wav",
    "nowhere": "http://0.0.0.0/a.wav",
    "a file": "file:///etc/passwd",
    "FTP": "ftp://example.com/a.wav",
    "data": "data:audio/wav;base64,AAAA",
    "a path": "/data/uploads/refused/j/here.wav",
    "no scheme": "example.com/a.wav",
    "no host": "http:///a.wav",
    "a password": "https://user:secret@example.com/a.wav",
    "empty": "",
}


def train(name: str, *names: str, status: int = 400, without: str = "", **changes: Any) -> Iterator[Case]:
    """The request at both of its doors: a task is refused when it is submitted."""
    body = {key: value for key, value in (TRAIN | changes).items() if key != without}
    for path in ("/train", "/train/submit"):
        yield Case(name, path, status, names, body)


@cases(
    *train("no producer", "producer_id", without="producer_id"),
    *(case for name, bad in BAD_IDS.items() for case in train(f"producer: {name}", "producer_id", producer_id=bad)),
    *(case for name, bad in BAD_IDS.items() for case in train(f"model: {name}", "model_name", model_name=bad)),
    *(case for name, bad in BAD_IDS.items() for case in train(f"job: {name}", "job_id", job_id=bad)),
    *train("an unknown field", "epochs", epochs=3),
    *train("the same field in both spellings", "producerId", producerId="refused"),
    *train("neither paths nor URLs", "upload_paths", "upload_urls", without="upload_paths"),
    *train("paths and URLs", "upload_paths", "upload_urls", upload_urls=["https://example.com/a.wav"]),
    *train("no path", "upload_paths", upload_paths=[]),
    *train("a path that is no list", "upload_paths", upload_paths=HERE),
    *train("a number for a path", "upload_paths", upload_paths=[5]),
    *train("101 paths", "upload_paths", upload_paths=[HERE] * 101),
    *(
        case
        for name, (status, path) in PATHS.items()
        for case in train(f"a path {name}", "upload_paths[1]", status=status, upload_paths=[HERE, path])
    ),
    *(
        case
        for name, url in URLS.items()
        for case in train(f"a URL: {name}", "upload_urls[0]", without="upload_paths", upload_urls=[url])
    ),
    *train("more metadata than files", "metadata_per_file", metadata_per_file=[{}, {}]),
    *train("metadata that is no list", "metadata_per_file", metadata_per_file={"title": "x"}),
    *train("metadata that is no object", "metadata_per_file", metadata_per_file=["x"]),
    *train("tags without a key", "tag_before_train", "GEMINI_API_KEY", tag_before_train=True),
    *train("a word for a truth", "skip_preprocess", skip_preprocess="perhaps"),
    *train("an unknown backend", "backend_override", "ace_step", "musicgen", backend_override="jukebox"),
    *train("a number for a backend", "backend_override", backend_override=5),
    *train("no step", "max_steps", max_steps=0),
    *train("half a step", "max_steps", max_steps=1.5),
    *train("no rank", "rank", rank=0),
    *train("a rank of 129", "rank", rank=129),
    *train("no learning rate", "learning_rate", learning_rate=0),
    *train("a learning rate that is no number", "learning_rate", learning_rate=float("nan")),
    *train("a negative seed", "seed", seed=-1),
    *train("a seed of 33 bits", "seed", seed=2**32),
    *train("an unknown profile", "profile", profile="studio"),
)
def test_training(api: Api, uploaded: None, case: Case) -> None:
    assert_refused(api, case)


@cases(
    *train("the job of another request", "job_id", status=409, job_id="ace-job"),
    *train(
        "a name that is taken",
        *("model_name", "studio_ace:twin", "choose another model_name"),
        status=409,
        producer_id="studio_ace",
        model_name="twin",
        upload_paths=["/data/uploads/studio_ace/j/here.wav"],
    ),
)
def test_training_that_another_one_stands_in_the_way_of(api: Api, uploaded: None, case: Case) -> None:
    assert_refused(api, case)


def test_the_job_of_a_request_that_differs_in_one_field(api: Api, twins: dict[str, Twin]) -> None:
    body = twins["ace_step"].request | {"max_steps": 9}
    for path in ("/train", "/train/submit"):
        assert_refused(api, Case("", path, 409, ("job_id", "ace-job"), body))


def test_a_name_that_leads_to_a_private_address_fails_the_job_before_training(api: Api) -> None:
    url = "http://localhost:1/beat.wav"
    body = {"producer_id": "refused", "upload_urls": [url], "job_id": "fetches", "max_steps": 1}
    error = error_of(api.client.post("/train", json=body), 400)
    assert url in error and "not public" in error
    job = api.get("/jobs/fetches")
    assert (job["state"], job["step"], job["result"]) == ("failed", None, None)
    assert url in job["error"]
    # The same request again is the same refusal, by either door.
    assert error_of(api.client.post("/train", json=body), 400) == error
    assert api.post("/train/submit", **body)["job_id"] == "fetches"


# Generate

GENERATE: Json = {"prompt": "trap", "duration_seconds": 1}


def generate(name: str, *names: str, status: int = 400, without: str = "", **changes: Any) -> Case:
    body = {key: value for key, value in (GENERATE | changes).items() if key != without}
    return Case(name, "/generate", status, names, body)


BAD_SECONDS: list[Any] = [0, -1, 600.5, 1e308, float("nan"), float("inf"), float("-inf"), "long", [60], {}]
BAD_LORAS = {
    *("", "studio", ":", "studio:", ":twin", "a:b:c", "a/b:c", "../a:b", ".a:b", "a:.b", "a b:c", "ä:b"),
    *(f"{ID_64}i:b", "a:b\n"),
}


@cases(
    generate("no prompt", "prompt", without="prompt"),
    generate("null for a prompt", "prompt", prompt=None),
    generate("an empty prompt", "prompt", prompt=""),
    generate("a blank prompt", "prompt", prompt=" \n\t"),
    generate("a number for a prompt", "prompt", prompt=5),
    generate("an endless prompt", "prompt", prompt="x" * 2001),
    generate("an unknown field", "mood", mood="dark"),
    *(generate(f"{seconds} seconds", "duration_seconds", duration_seconds=seconds) for seconds in BAD_SECONDS),
    generate("too long for MusicGen", "duration_seconds", duration_seconds=301, backend_override="musicgen"),
    generate("too much for base64", "Accept", status=413, duration_seconds=600),
    *(generate(f"backend {bad!r}", "backend_override", backend_override=bad) for bad in ("jukebox", "ACE_STEP", 5)),
    *(generate(f"twin {bad!r}", "lora_id", lora_id=bad) for bad in sorted(BAD_LORAS)),
    generate("a number for a twin", "lora_id", lora_id=5),
    generate("a twin that is not there", "lora_id", "no:body", status=404, lora_id="no:body"),
    generate("a model that is not there", "lora_id", "studio:nobody", status=404, lora_id="studio:nobody"),
    generate("a twin in another case", "lora_id", status=404, lora_id="Studio:ace_twin"),
    generate("another backend's", "lora_id", status=409, lora_id="studio:ace_twin", backend_override="musicgen"),
    generate("the other's", "lora_id", status=409, lora_id="studio:music_twin", backend_override="ace_step"),
    *(generate(f"seed {bad!r}", "seed", seed=bad) for bad in (-2, 2**32, 1.5, "x")),
    *(generate(f"scale {bad!r}", "lora_scale", lora_scale=bad) for bad in (-0.1, 2.1, float("nan"), "x")),
    generate("endless lyrics", "lyrics", lyrics="la " * 3000),
    *(generate(f"bpm {bad!r}", "bpm", "such as 140", bpm=bad) for bad in BAD_TEMPOS),
    *(generate(f"key {bad!r}", "key", "A minor", key=bad) for bad in ("H minor", "a", "A dorian", "C/Am", 5)),
    *(generate(f"metre {bad!r}", "time_signature", "4/4", time_signature=bad) for bad in ("5", "12/8", 5, True)),
    *(generate(f"steps {bad!r}", "steps", steps=bad) for bad in (0, 201, 1.5)),
    generate("twins twice", "lora_id, loras", lora_id="a:b", loras=[{"lora_id": "a:c"}]),
    generate("no blend", "loras", loras=[]),
    generate("a blend of nothing", "loras", "0", loras=[{"lora_id": "a:b", "weight": 0}]),
    generate("a twin twice in a blend", "loras", "twice", loras=[{"lora_id": "a:b"}, {"lora_id": "a:b"}]),
    generate("a weight over 1", "loras.0.weight", loras=[{"lora_id": "a:b", "weight": 1.1}]),
    generate("a strange field in a blend", "loras.0.scale", loras=[{"lora_id": "a:b", "scale": 1}]),
    *(generate(f"shift {bad!r}", "shift", shift=bad) for bad in (0, 21, float("nan"))),
    *(generate(f"temperature {bad!r}", "temperature", temperature=bad) for bad in (-1, 6, float("nan"))),
    *(generate(f"guidance {bad!r}", "guidance", guidance=bad) for bad in (-1, 21, float("nan"))),
    *(generate(f"format {bad!r}", "output_format", output_format=bad) for bad in ("aac", "WAV", "", 5)),
)
def test_generating(api: Api, twins: dict[str, Twin], case: Case) -> None:
    assert_refused(api, case)


def test_an_error_is_json_also_where_audio_was_asked_for(api: Api) -> None:
    case = Case("", "/generate", 400, ("prompt",), options={"json": {}, "headers": {"accept": "audio/*"}})
    assert_refused(api, case)


def test_many_errors_in_one_body_are_one_short_sentence(api: Api) -> None:
    unknown = {f"unknown{i}" * 100: i for i in range(5000)}
    answer = assert_refused(api, Case("", "/generate", 400, ("unknown0",), {"prompt": "x"} | unknown))
    assert len(answer.content) < 10_000


def test_a_bad_body_leaves_no_traceback_and_no_words_in_the_log(api: Api) -> None:
    for path in ("/generate", "/store-upload", "/train"):
        error_of(api.client.post(path, json={"prompt": ["words of a client"]}), 400)
    log = api.server.log.read_text(errors="replace")
    assert "IODescriptor" not in log and "words of a client" not in log


def test_a_track_too_large_for_base64_is_refused_in_any_format(tmp_path: Path) -> None:
    class Noise:
        """A runner whose music nothing compresses."""

        @property
        def to_async(self) -> Noise:
            return self

        async def describe(self) -> RunnerState:
            return RunnerState(ready=True, reason=None, checkpoint="noise", sample_rate=48_000, channels=2)

        async def generate(self, request: TrackRequest) -> TrackAnswer:
            size = int(request.seconds * 48_000 * 4)
            return TrackAnswer(pcm=np.random.default_rng(1).bytes(size), sample_rate=48_000, channels=2)

    settings = Settings()
    storage = open_storage(tmp_path.as_uri())
    generation = Generation(
        Runners({"ace_step": Noise()}, settings), Library(storage), Outbox(storage, "x", tmp_path / "outbox"), settings
    )
    request = GenerateRequest(prompt="noise", duration_seconds=200, output_format="flac", backend_override="ace_step")
    with pytest.raises(Refusal, match="duration_seconds") as refused:
        asyncio.run(generation.generate(request, as_base64=True))
    assert refused.value.status == 413
    assert list(storage.list("")) == []


# Paths, methods, queries


def get(path: str, status: int, *names: str, method: str = "GET") -> Case:
    return Case(method, path, status, names, method=method)


@cases(
    get("/nothing", 404, "/nothing"),
    get("/data/uploads", 404),
    get("/jobs/nobody", 404, "job_id", "nobody"),
    get("/jobs/.hidden", 404, "job_id"),
    get("/jobs/a%00b", 404, "job_id"),
    get("/jobs/a%5Cb", 404, "job_id"),
    get("/jobs/ace-job%0A", 404, "job_id"),
    get("/jobs/" + "a" * 300, 404, "job_id"),
    get("/jobs/%2e%2e%2fjobs%2face-job", 404),
    get("/loras/no:body", 404, "lora_id", "no:body"),
    get("/loras/.a:b", 404, "lora_id"),
    get("/loras/a:b:c", 404, "lora_id"),
    get("/loras/studio", 404),
    get("/loras/no:body", 404, "lora_id", "no:body", method="DELETE"),
    get("/loras/%2e%2e%2fx:y", 404, method="DELETE"),
    get("/datasets/nobody", 404, "producer_id", "nobody"),
    get("/datasets/.hidden", 404, "producer_id"),
    get("/datasets/studio%0A", 404, "producer_id"),
    get("/datasets/%FF", 404, "producer_id"),
    get("/train/status?task_id=nobody", 404, "task_id"),
    get("/train/get?task_id=nobody", 404, "task_id"),
    get("/train/status", 400, "task_id"),
    get("/train/get", 400, "task_id"),
    get("/jobs?state=asleep", 400, "state", "queued"),
    get("/jobs?producer_id=.x", 400, "producer_id"),
    get("/jobs?producer_id=studio%0A", 400, "producer_id"),
    get("/jobs?producer=studio", 400, "producer"),
    get("/loras?producer_id=a/b", 400, "producer_id"),
    get("/loras?backend=musicgen", 400, "backend"),
    # BentoML's own, which would not do what they say, and what there is nothing for.
    get("/train/cancel?task_id=x", 404, method="PUT"),
    get("/train/retry?task_id=x", 404, method="POST"),
    *(get(f"/jobs/nobody/{what}", 404, "job_id") for what in ("events", "report", "report.json", "previews/a_1.mp3")),
    *(get(f"/jobs/nobody/{what}", 404, "job_id", method="POST") for what in ("cancel", "resume")),
    *(get(f"/jobs/ace-job/{what}", 409, "job_id", method="POST") for what in ("cancel", "resume")),
    get("/jobs/ace-job/previews/checkpoint.pt", 404),
    *(get(f"/loras/no:body/{what}", 404, "lora_id", "no:body") for what in ("versions", "file")),
    get("/loras/studio:ace_twin/file?version=0123456789abcdef", 404, "lora_id", "@0123456789abcdef"),
    get("/loras/studio:ace_twin/file?version=%0A/..", 404, "lora_id"),
    get("/data/outputs/base/nothing.wav", 404, "/data/outputs/base/nothing.wav"),
    get("/data/outputs/", 404),
    get("/data/outputs/..%2floras/studio_ace_twin.safetensors", 404),
    get("/data/outputs/%2e%2e/loras/studio_ace_twin.safetensors", 404),
)
def test_what_is_not_there(api: Api, twins: dict[str, Twin], case: Case) -> None:
    assert_refused(api, case)


METHODS = {
    "POST": ["/store-upload", "/train", "/train/submit", "/generate"],
    "GET": ["/backends", "/jobs", "/loras", "/datasets/studio", "/train/status", "/train/get"],
}


@cases(
    *(
        Case(method, path, 405, (method, path), method=method)
        for right, paths in METHODS.items()
        for path in paths
        for method in ("GET", "POST", "PUT", "DELETE", "PATCH")
        if method != right
    ),
    *(Case("PUT", path, 405, ("PUT", path), method="PUT") for path in ("/loras/studio:ace_twin", "/jobs/ace-job")),
)
def test_the_wrong_method_is_told_the_right_ones(api: Api, twins: dict[str, Twin], case: Case) -> None:
    allowed = {method.strip() for method in assert_refused(api, case).headers["allow"].split(",")}
    assert case.method not in allowed
    if case.path.startswith(("/loras/", "/jobs/")):
        assert {"GET", "DELETE"} <= allowed
    else:
        assert allowed & {"GET", "POST"} == {right for right, paths in METHODS.items() if case.path in paths}


# What an operator may set

PASSWORDED = [
    Case("upload", "/store-upload", 400, ("content_base64",), {"producer_id": "p"}),
    Case("train", "/train", 404, ("upload_paths[0]",), TRAIN),
    Case("submit", "/train/submit", 404, ("upload_paths[0]",), TRAIN),
    Case("status", "/train/status?task_id=x", 404, ("task_id",), method="GET"),
    Case("get", "/train/get?task_id=x", 404, ("task_id",), method="GET"),
    Case("delete", "/loras/a:b", 404, ("lora_id",), method="DELETE"),
]
WRONG = [None, b"", b"wrong", PASSWORD.encode()[:-1], PASSWORD.encode() + b" x", PASSWORD.encode("latin-1")]


@pytest.mark.parametrize("case", PASSWORDED, ids=str)
def test_who_writes_needs_the_password(strict: Api, case: Case) -> None:
    for wrong in WRONG:
        headers = {} if wrong is None else {b"x-train-password": wrong}
        before = strict.stored()
        answer = strict.client.request(case.method, case.path, json=case.body, headers=headers)
        assert "x-train-password" in error_of(answer, 401)
        assert strict.stored() == before
    headers = {b"x-train-password": PASSWORD.encode()}
    answer = strict.client.request(case.method, case.path, json=case.body, headers=headers)
    for name in case.names:
        assert name in error_of(answer, case.status)


def test_the_password_lets_an_upload_in(strict: Api) -> None:
    body = {"producer_id": "p", "content_base64": as_base64(beat(1, rate=8000, channels=1))}
    headers = {b"x-train-password": PASSWORD.encode()}
    answer = strict.client.post("/store-upload", json=body, headers=headers)
    assert answer.status_code == 200
    assert strict.file(answer.json()["path"]).is_file()


def test_who_reads_or_generates_needs_no_password(strict: Api) -> None:
    for path in ("/backends", "/loras", "/jobs", "/readyz"):
        assert strict.client.get(path).status_code == 200
    assert strict.generate(duration_seconds=1).any()


KNOWN = {b"x-train-password": PASSWORD.encode(), b"content-type": b"application/json"}


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize("length", ["told", "not told"])
def test_a_body_over_the_limit(strict: Api, path: str, length: str) -> None:
    def pieces() -> Iterator[bytes]:
        yield b'{"prompt": "'
        for _ in range(40):
            yield b"x" * 10_000
        yield b'"}'

    content: Any = b"".join(pieces()) if length == "told" else pieces()
    before = strict.stored()
    answer = strict.client.post(path, content=content, headers=KNOWN)
    assert "300000 bytes" in error_of(answer, 413)
    assert strict.stored() == before


def test_an_upload_over_the_limit(strict: Api) -> None:
    body = {"producer_id": "p", "content_base64": as_base64(beat(1))}
    before = strict.stored()
    assert "content_base64" in error_of(strict.client.post("/store-upload", json=body, headers=KNOWN), 413)
    assert strict.stored() == before


def test_the_operators_limit_of_the_length(strict: Api) -> None:
    body = {"prompt": "x", "seed": 1}
    assert "duration_seconds" in error_of(strict.client.post("/generate", json=body | {"duration_seconds": 3.5}), 400)
    assert strict.post("/generate", **body)["duration_seconds"] == pytest.approx(3, abs=0.1)
    assert strict.get("/backends")["backends"][0]["max_duration_seconds"] == 3


def test_without_noncommercial_weights_there_is_no_musicgen(strict: Api) -> None:
    assert [row["name"] for row in strict.get("/backends")["backends"]] == ["ace_step"]
    for path, body in (("/generate", GENERATE), ("/train", TRAIN), ("/train/submit", TRAIN)):
        answer = strict.client.post(path, json=body | {"backend_override": "musicgen"}, headers=KNOWN)
        assert "backend_override" in error_of(answer, 400)
    assert not any("MusicGenRunner" in command_of(child) for child in strict.children())


# A client that goes away


def test_who_goes_away_frees_the_runner(api: Api) -> None:
    runner = api.process("AceStepRunner")
    minutes = GENERATE | {"backend_override": "ace_step", "duration_seconds": 600, "steps": 200}
    with pytest.raises(httpx.ReadTimeout):
        api.client.post("/generate", json=minutes, headers={"accept": "audio/wav"}, timeout=3)
    end = time.monotonic() + PATIENCE
    while (used := sum(runner.cpu_times()[:2])) is not None:
        time.sleep(1)
        if sum(runner.cpu_times()[:2]) - used < 0.1:
            break
        assert time.monotonic() < end, "it goes on though nobody waits"


# A crash


def test_a_runner_that_was_killed_comes_back(api: Api) -> None:
    before = api.generate(backend_override="musicgen", duration_seconds=1)
    api.process("MusicGenRunner").send_signal(signal.SIGKILL)
    body = GENERATE | {"backend_override": "musicgen"}
    end = time.monotonic() + PATIENCE
    while (answer := api.client.post("/generate", json=body)).status_code != 200:
        assert "musicgen" in error_of(answer, 503)
        assert time.monotonic() < end, answer.text
        # The other one serves meanwhile.
        assert api.client.get("/readyz").status_code == 200
        assert api.generate(backend_override="ace_step", duration_seconds=1).any()
    wait_until_ready(api)
    assert (api.generate(backend_override="musicgen", duration_seconds=1) == before).all()
