"""Submitted tracks over HTTP: followed, cancelled, made in spite of a killed front; webhooks; repeated requests."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from contract.jobs import TERMINAL
from tests.api import ACE_STEP_ONLY, Api, Json, beat, checked, decoded, error_of, running, wait_until

TRACK: Json = {"prompt": "dark trap", "duration_seconds": 2, "seed": 7}
# Longer than anything else here takes.
LONG: Json = TRACK | {"duration_seconds": 600, "steps": 200}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, tiny: dict[str, str]) -> Iterator[Api]:
    with running(tmp_path_factory.mktemp("submissions"), tiny | ACE_STEP_ONLY, ("ace_step",)) as api:
        yield api


def followed(service: Api, track_id: str) -> list[Json]:
    """The events of a track, until the last one."""
    with service.client.stream("GET", f"/tracks/{track_id}/events") as stream:
        assert stream.status_code == 200 and stream.headers["content-type"].startswith("text/event-stream")
        return [json.loads(line.removeprefix("data: ")) for line in stream.iter_lines() if line.startswith("data: ")]


def test_a_submitted_track_is_followed_and_is_the_one_of_generate(service: Api) -> None:
    submitted = service.post("/generate/submit", **TRACK)
    assert submitted["state"] == "queued" and submitted["track"] is None
    last = followed(service, submitted["track_id"])[-1]
    assert last["state"] == "done" and last["track"]["track_id"] == submitted["track_id"]
    track = service.get(f"/tracks/{submitted['track_id']}")
    assert track == last["track"] == service.get("/tracks")["tracks"][0]
    samples = decoded(service.file(track["output_path"]).read_bytes())[0]
    assert (samples == service.generate(**TRACK)).all()
    assert [event["state"] for event in followed(service, submitted["track_id"])] == ["done"]


def test_submitted_takes_keep_the_figures_that_generate_answers(service: Api) -> None:
    body: Json = TRACK | {"duration_seconds": 6, "takes": 2, "rank": "tempo", "bpm": 120}
    best = followed(service, service.post("/generate/submit", **body)["track_id"])[-1]["track"]
    assert best["takes"][0] == best["track_id"] and len(best["takes"]) == 2
    records = [service.get(f"/tracks/{track_id}") for track_id in best["takes"]]
    for record, take in zip(records, service.post("/generate", **body)["takes"], strict=True):
        assert (record["seed"], record["figures"]) == (take["seed"], take["figures"])
    assert best["figures"]["loudness"] is not None and best["figures"]["bpm_confidence"] is not None


def test_the_figures_of_a_stored_track_are_those_of_its_answer(service: Api) -> None:
    for figures in (True, False):
        made = service.post("/generate", figures=figures, response="url", **TRACK)
        stored = next(row for row in service.get("/tracks")["tracks"] if row["output_path"] == made["output_path"])
        assert stored["figures"] == made.get("figures")
        assert (stored["figures"] is not None) == figures


def test_a_track_is_cancelled_while_it_is_made(service: Api) -> None:
    track_id = service.post("/generate/submit", **LONG)["track_id"]
    wait_until(lambda: service.get(f"/tracks/{track_id}")["state"] == "making")
    making = service.get(f"/tracks/{track_id}")
    assert 0 <= making["progress"] < 1 and making["ahead"] is not None
    assert checked(service.client.delete(f"/tracks/{track_id}"))["deleted"] == []
    assert service.get(f"/tracks/{track_id}")["state"] == "cancelled"
    assert followed(service, track_id)[-1]["state"] == "cancelled"
    wait_until(lambda: service.get("/backends")["backends"][0]["under_way"] == 0)
    assert len(checked(service.client.delete(f"/tracks/{track_id}"))["deleted"]) == 1
    error_of(service.client.get(f"/tracks/{track_id}"), 404)
    error_of(service.client.get(f"/tracks/{track_id}/events"), 404)


def test_bad_requests_are_refused_at_once(service: Api) -> None:
    for body, field in (
        ({"prompt": " "}, "prompt"),
        (TRACK | {"lora_id": "nobody:none"}, "lora_id"),
        (TRACK | {"duration_seconds": 9999}, "duration_seconds"),
        (TRACK | {"response": "base64"}, "response"),
        (TRACK | {"webhook_url": "http://example.com"}, "webhook_url"),
        (TRACK | {"webhook_url": "https://169.254.169.254/latest"}, "webhook_url"),
        (TRACK | {"webhook_url": "https://user:secret@example.com"}, "webhook_url"),
    ):
        answer = service.client.post("/generate/submit", json=body)
        assert answer.status_code in (400, 404) and answer.json()["error"].startswith(field), answer.text
    path = service.upload("ada", beat(8), filename="beat.wav")
    for url in ("http://example.com", "https://10.0.0.1/x"):
        body = {"producer_id": "ada", "upload_paths": [path], "webhook_url": url}
        assert "webhook_url" in error_of(service.client.post("/train/submit", json=body), 400)
    assert service.get("/jobs")["jobs"] == [] and service.get("/webhooks")["deliveries"] == []


def test_webhooks_of_tracks_and_jobs_are_listed_with_what_went_wrong(service: Api) -> None:
    """There is no network here: a receiver with a name cannot be reached."""
    path = service.upload("ada", beat(8), filename="beat.wav")
    url = "https://studio.invalid/hook?token=x"
    job: Json = {"producer_id": "ada", "upload_paths": [path], "job_id": "hooked", "max_steps": 100_000}
    service.post("/train/submit", webhook_url=url, **job)
    track_id = service.post("/generate/submit", webhook_url=url, **TRACK)["track_id"]
    assert followed(service, track_id)[-1]["state"] == "done"
    service.post("/jobs/hooked/cancel")
    assert service.ended("hooked")["state"] == "cancelled"

    def tried() -> list[Json]:
        deliveries: list[Json] = service.get("/webhooks")["deliveries"]
        return deliveries if len(deliveries) == 2 and all(each["attempts"] for each in deliveries) else []

    wait_until(lambda: tried())
    deliveries = tried()
    assert {each["type"] for each in deliveries} == {"track.done", "job.cancelled"}
    for each in deliveries:
        assert each["state"] == "pending" and each["next_attempt_at"] and each["url"] == url
        assert each["attempts"][0]["error"] == "it cannot be reached, or the connection broke"
    assert service.get("/webhooks")["secret"].startswith("whsec_")


def test_a_repeated_request_makes_nothing_again(service: Api) -> None:
    def post(path: str, key: str, **more: Any) -> httpx.Response:
        headers = {"idempotency-key": key} | more.pop("headers", {})
        return service.client.post(path, headers=headers, **more)

    before = len(service.get("/tracks")["tracks"])
    as_wav = {"accept": "audio/wav"}
    for name, body, headers in (
        ("json", TRACK, {}),
        ("wav", TRACK, as_wav),
        ("link", TRACK | {"response": "url"}, {}),
        ("takes", TRACK | {"takes": 2}, {}),
    ):
        first = post("/generate", name, json=body, headers=headers)
        again = post("/generate", name, json=body, headers=headers)
        assert first.status_code == again.status_code == 200, again.text
        assert again.headers["content-type"] == first.headers["content-type"]
        if name == "wav":
            assert again.content == first.content and again.headers["x-seed"] == "7"
        else:
            assert again.json() == first.json()
    assert len(service.get("/tracks")["tracks"]) == before + 5
    assert "another request" in error_of(post("/generate", "json", json=TRACK | {"seed": 8}), 422)
    error_of(post("/generate", "json", json={"prompt": " "}), 422)
    assert "idempotency-key" in error_of(post("/generate", "two words", json=TRACK), 400)

    submitted = [post("/generate/submit", "submitted", json=TRACK).json() for _ in range(2)]
    assert submitted[0] == submitted[1]
    form = {"data": {"producer_id": "ada"}, "files": {"file": ("beat.wav", beat(4))}}
    uploads = [checked(post("/uploads", "upload", **form)) for _ in range(2)]  # each with a boundary of its own
    assert uploads[0] == uploads[1]
    body = {"producer_id": "ada", "upload_paths": [uploads[0]["path"]], "model_name": "again", "max_steps": 100_000}
    jobs = [checked(post("/train/submit", "job", json=body)) for _ in range(2)]
    assert jobs[0] == jobs[1]
    service.post(f"/jobs/{jobs[0]['job_id']}/cancel")
    assert len([job for job in service.get("/jobs")["jobs"] if job["model_name"] == "again"]) == 1


def test_a_training_whose_client_left_is_found_by_its_key(service: Api) -> None:
    path = service.upload("ada", beat(8), filename="left.wav")
    body = {"producer_id": "ada", "upload_paths": [path], "model_name": "left", "max_steps": 100_000}

    def jobs() -> list[Json]:
        return [job for job in service.get("/jobs")["jobs"] if job["model_name"] == "left"]

    def asked() -> httpx.Response | None:
        """The answer; None if it did not come before the client left."""
        try:
            return service.client.post("/train", json=body, headers={"idempotency-key": "left"}, timeout=5)
        except httpx.ReadTimeout:
            return None

    assert asked() is None
    wait_until(lambda: len(jobs()) == 1)
    wait_until(lambda: asked() is None)  # the server may not have noticed yet that the first client left: a 409
    [job] = jobs()
    assert job["state"] not in TERMINAL
    service.post(f"/jobs/{job['job_id']}/cancel")
    assert service.ended(job["job_id"])["state"] == "cancelled"
    wait_until(lambda: (answer := asked()) is not None and "was cancelled" in error_of(answer, 409))
    assert len(jobs()) == 1


def test_a_recording_comes_with_a_submitted_track(service: Api) -> None:
    fields = {"prompt": "trap", "task": "repaint", "start": "1", "end": "2", "seed": "3"}
    files = {"source": ("beat.wav", beat(4))}
    submitted = checked(service.client.post("/generate/form/submit", data=fields, files=files))
    last = followed(service, submitted["track_id"])[-1]
    assert last["state"] == "done", last
    made = service.client.post("/generate/form", data=fields, files=files, headers={"accept": "audio/wav"})
    stored = decoded(service.file(last["track"]["output_path"]).read_bytes())[0]
    assert (stored == decoded(made.content)[0]).all()
    refused = service.client.post("/generate/form/submit", data=fields | {"task": "text"}, files=files)
    assert error_of(refused, 400)


def test_a_submitted_track_outlives_a_killed_front(service: Api) -> None:
    body = TRACK | {"duration_seconds": 60, "steps": 200, "seed": 11}
    track_id = service.post("/generate/submit", **body)["track_id"]
    wait_until(lambda: service.get(f"/tracks/{track_id}")["state"] == "making")
    service.process("ProducerTwin").kill()

    def track() -> Json | None:
        try:
            found: Json = service.get(f"/tracks/{track_id}")
        except (httpx.TransportError, AssertionError):  # the front is not back yet
            return None
        assert found.get("state") not in ("failed", "cancelled"), found
        return found if "output_path" in found else None

    wait_until(lambda: track() is not None, pause=0.5)
    made = track()
    assert made is not None and made["seed"] == 11
    assert decoded(service.file(made["output_path"]).read_bytes())[0].shape[0] == 60 * 48_000
