"""Requests of trainings that are refused, by /train and by /train/submit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.api import Api, beat, error_of
from tests.conftest import Twin
from tests.integration.refusals.cases import BAD_IDS, HERE, TRAIN, Case, assert_refused, cases


@pytest.fixture(scope="module")
def uploaded(api: Api, twins: dict[str, Twin]) -> None:
    """The uploads that the requests below name."""
    api.upload("refused", beat(1), job_id="j", filename="here.wav")
    api.upload("other", beat(1), job_id="j", filename="theirs.wav")
    api.upload("studio_ace", beat(1), job_id="j", filename="here.wav")


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
    """The request to both routes: a task is refused when it is submitted."""
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
    # The same request is refused again, by either route.
    assert error_of(api.client.post("/train", json=body), 400) == error
    assert api.post("/train/submit", **body)["job_id"] == "fetches"
