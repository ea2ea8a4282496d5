"""Training over real HTTP, for both backends: answers, job records, datasets."""

from __future__ import annotations

import json

import numpy as np
import pytest
import soundfile
from safetensors.numpy import load

from contract import TaskAnswer
from tests.api import Api, both_backends
from tests.conftest import Twin

JOB_KEYS = [
    *("job_id", "task_id", "producer_id", "model_name", "backend", "state", "step", "total_steps", "loss"),
    *("held_out_loss", "steps_per_second", "seconds_left", "queue_position", "created_at", "updated_at", "error"),
    *("result", "previews", "progress", "best_step", "stopped_early"),
]
TRAIN_KEYS = {"job_id", "producer_id", "model_name", "backend", "lora_path", "models_path"}


@both_backends
def test_training_answers_where_the_twin_lies(api: Api, twins: dict[str, Twin], backend: str) -> None:
    result = twins[backend].result
    assert result.keys() == TRAIN_KEYS
    assert (result["producer_id"], result["backend"]) == ("studio", backend)
    assert result["lora_path"] == f"/data/loras/studio_{result['model_name']}.safetensors"
    assert result["models_path"] == "/data/models/studio/adapter_model.safetensors"
    assert api.file(result["lora_path"]).is_file()
    # models_path holds the producer's newest twin, which is MusicGen's.
    newest = api.file(result["models_path"]).read_bytes()
    assert newest == api.file(twins["musicgen"].result["lora_path"]).read_bytes()


@both_backends
def test_a_twin_holds_trained_numbers(api: Api, twins: dict[str, Twin], backend: str) -> None:
    tensors = load(api.file(twins[backend].result["lora_path"]).read_bytes())
    ends = [tensor for name, tensor in tensors.items() if name.endswith(".lora_B.weight")]
    assert ends and any(np.abs(tensor).max() > 0 for tensor in ends)


@both_backends
def test_a_job_is_always_told_with_the_same_keys(api: Api, twins: dict[str, Twin], backend: str) -> None:
    twin = twins[backend]
    job = api.get(f"/jobs/{twin.result['job_id']}")
    assert list(job) == JOB_KEYS
    assert (job["state"], job["backend"], job["error"]) == ("done", backend, None)
    assert job["result"] == twin.result
    assert job["step"] == job["total_steps"] == 8
    assert job["loss"] > 0 and [preview["step"] for preview in job["previews"]] == [0, 3, 5, 8]


def test_a_submitted_task_is_found_by_either_id(api: Api, twins: dict[str, Twin]) -> None:
    twin = twins["ace_step"]
    assert twin.submitted is not None
    task, job = twin.submitted["task_id"], twin.submitted["job_id"]
    assert job == "ace-job"
    assert api.get(f"/jobs/{task}") == api.get(f"/jobs/{job}")
    assert api.get(f"/jobs/{job}")["task_id"] == task
    for query in ({"task_id": task}, {"taskId": task}):
        assert TaskAnswer.model_validate(api.get("/train/status", **query)).status == "completed"
        assert api.get("/train/get", **query) == twin.result


@both_backends
def test_the_same_job_again_is_its_result(api: Api, twins: dict[str, Twin], backend: str) -> None:
    twin = twins[backend]
    before = api.get(f"/jobs/{twin.result['job_id']}")
    assert api.post("/train", **twin.request) == twin.result
    again = api.post("/train/submit", **twin.request)
    assert again["job_id"] == twin.result["job_id"]
    job = api.ended(again["task_id"])
    assert job["state"] == "done" and job["result"] == before["result"]


def test_jobs_are_listed_and_filtered(api: Api, twins: dict[str, Twin]) -> None:
    def listed(**query: str) -> set[str]:
        jobs = api.get("/jobs", **query)["jobs"]
        assert all(list(job) == JOB_KEYS for job in jobs)
        return {job["job_id"] for job in jobs}

    mine = {"ace-job", "music-job"}
    assert mine <= listed()
    assert mine == listed(producer_id="studio", state="done") == listed(producerId="studio")
    assert listed(producer_id="nobody") == set()
    assert not mine & listed(state="failed")


def test_the_newest_dataset_of_a_producer_is_told(api: Api, twins: dict[str, Twin]) -> None:
    dataset = api.get("/datasets/studio")
    assert dataset["producer_id"] == "studio" and dataset["job_id"] == "music-job"
    assert [file["source"] for file in dataset["files"]] == twins["musicgen"].request["uploadPaths"]
    assert dataset["seconds"] == pytest.approx(30, abs=1)
    for segment in dataset["segments"]:
        sound = soundfile.info(str(api.file(segment["path"])))
        assert (sound.samplerate, sound.channels) == (44_100, 1) and sound.duration <= 15.1


def test_every_part_of_three_minutes_is_trained_on(api: Api, twins: dict[str, Twin]) -> None:
    record = json.loads(api.file("/data/datasets/studio/ace-job/dataset.json").read_text())
    assert record["seconds"] == pytest.approx(200, abs=15)
    assert [file["format"] for file in record["files"]] == ["wav", "flac"]
