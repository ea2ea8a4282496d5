"""Two servers that share one bucket and no disk, and a bucket that is down for a while."""

from __future__ import annotations

import base64
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import pytest

from storage import Storage, open_storage
from storage.retrying import RetryingStorage
from tests.api import ACE_STEP_ONLY, PATIENCE, Api, Json, beat, checked, decoded, error_of, running, wait_until
from tests.s3_server import CREDENTIALS, S3Server, serve_s3

pytestmark = pytest.mark.long

CLIP = beat(4, rate=44_100)
AWAY_SECONDS = 10.0


@dataclass(frozen=True)
class Cloud:
    """A bucket, and servers on it, whose folders hold logs and caches but no data."""

    s3: S3Server
    url: str
    tiny: dict[str, str]

    @contextmanager
    def server(self, folder: Path) -> Iterator[Api]:
        own = {"STORAGE_URL": self.url, "S3_ENDPOINT_URL": self.s3.endpoint}
        with running(folder, self.tiny | CREDENTIALS | ACE_STEP_ONLY | own, backends=("ace_step",)) as api:
            yield api

    @property
    def storage(self) -> Storage:
        """The bucket's objects, read with retries: a bucket that has just started fails some requests."""
        return RetryingStorage(open_storage(self.url, self.s3.endpoint), PATIENCE)


@pytest.fixture(scope="module")
def cloud(tiny: dict[str, str]) -> Iterator[Cloud]:
    with pytest.MonkeyPatch.context() as environment, serve_s3() as s3:
        for name, value in CREDENTIALS.items():
            environment.setenv(name, value)
        yield Cloud(s3, s3.url(uuid.uuid4().hex), tiny)


@pytest.fixture(scope="module")
def first(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with cloud.server(tmp_path_factory.mktemp("first")) as api:
        yield api


def submitted(api: Api, name: str, steps: int) -> str:
    path = api.upload("ada", CLIP, job_id="clip", filename="clip.wav")
    body = {"producer_id": "ada", "model_name": name, "upload_paths": [path], "max_steps": steps}
    job: str = api.post("/train/submit", **body)["job_id"]
    return job


def test_a_twin_of_one_server_is_generated_with_on_the_other(
    cloud: Cloud, first: Api, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with cloud.server(tmp_path_factory.mktemp("second")) as second:
        job = submitted(first, "shared", steps=2)
        assert second.ended(job)["state"] == "done"
        assert second.get("/loras/ada:shared")["usable"]
        sound = second.generate(lora_id="ada:shared")
        assert np.array_equal(sound, first.generate(lora_id="ada:shared"))
        assert not np.array_equal(sound, second.generate())
        # A link leads to the bucket itself, without a server of ours.
        made = second.post("/generate", prompt="dark trap", duration_seconds=2, seed=7, response="url")
        assert made["url"].startswith(cloud.s3.endpoint)
        fetched = httpx.get(made["url"], headers={"range": "bytes=0-9"})
        assert fetched.status_code == 206 and fetched.headers["content-type"] == "audio/wav"
        led = first.client.get(made["output_path"], follow_redirects=True)
        assert np.array_equal(decoded(led.content)[0], second.generate())
        # A file that a browser puts into the bucket can be trained on.
        link: Json = first.post("/uploads/link", producer_id="ada", filename="mine.wav", bytes=len(CLIP))
        checked_put = httpx.request(link["method"], link["url"], headers=link["headers"], content=CLIP)
        assert checked_put.status_code == 200
        assert (
            checked(
                second.client.post(
                    "/uploads",
                    files={"file": ("mine.wav", CLIP)},
                    data={"producer_id": "ada", "job_id": link["job_id"]},
                )
            )["path"]
            == link["path"]
        )
        checked(second.client.delete("/loras/ada:shared"))
        error_of(first.client.post("/generate", json={"prompt": "x", "lora_id": "ada:shared"}), 404)
        assert not [
            entry.key for entry in cloud.storage.list("") if "ada/shared" in entry.key or "ada_shared" in entry.key
        ]


def test_a_bucket_that_is_away_for_ten_seconds(cloud: Cloud, first: Api) -> None:
    assert first.ended(submitted(first, "cached", steps=1))["state"] == "done"
    body: Json = {"prompt": "dark trap", "duration_seconds": 2, "seed": 7, "lora_id": "ada:cached"}
    sound = decoded(base64.b64decode(first.post("/generate", **body)["audio_base64"]))[0]
    job = submitted(first, "lasting", steps=80)
    wait_until(lambda: first.get(f"/jobs/{job}")["step"])

    def ask(path: str, **request: object) -> httpx.Response:
        return first.client.post(path, **request)  # type: ignore[arg-type]

    upload = {"files": {"file": ("late.wav", CLIP)}, "data": {"producer_id": "ada", "job_id": "late"}}
    cloud.s3.kill()
    try:
        with ThreadPoolExecutor(4) as pool:
            start = time.monotonic()
            uploading = pool.submit(ask, "/uploads", **upload)
            cached = [pool.submit(ask, "/generate", json=body) for _ in range(2)]
            unknown = pool.submit(ask, "/generate", json=body | {"lora_id": "ada:unknown"})
            # All are answered while the bucket is down.
            refused, made_away = [unknown.result(), uploading.result()], [each.result() for each in cached]
            time.sleep(max(0.0, start + AWAY_SECONDS - time.monotonic()))
    finally:
        cloud.s3.start()
    assert cloud.storage.stat("uploads/ada/late/late.wav") is None
    for answer in refused:
        assert "storage" in error_of(answer, 503)
    made = {}
    for answer in made_away:
        file = base64.b64decode(checked(answer)["audio_base64"])
        assert (
            np.abs(decoded(file)[0] - sound).max() <= 1.01 / 2**15
        )  # in a batch, a track may differ by one step of 16 bits
        made[answer.json()["output_path"].removeprefix("/data/")] = file

    def is_done() -> bool:
        # A bucket that has just started fails some requests. And until the trainer has written the record again, a
        # reader presumes that the trainer is dead and sees the job as failed.
        answer = first.client.get(f"/jobs/{job}")
        if answer.status_code == 503:
            return False
        record = checked(answer)
        assert record["state"] in ("training", "evaluating", "done") or "worked on the job ended" in record["error"]
        return bool(record["state"] == "done")

    wait_until(is_done, pause=0.5)
    assert first.get("/loras/ada:lasting")["usable"]
    # Tracks that waited locally are stored by now, and the refused upload may be sent again.
    wait_until(lambda: all(cloud.storage.stat(key) is not None for key in made), pause=0.5)
    assert {key: cloud.storage.get(key) for key in made} == made
    checked(first.client.post("/uploads", **upload))  # type: ignore[arg-type]
    assert cloud.storage.get("uploads/ada/late/late.wav") == CLIP
