"""Jobs over HTTP: cancelling, resuming, events, reports and previews."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile
import torch

from adapters.adapter_file import Header
from adapters.serialization import decode
from contract import SamplingOptions
from models.ace_step import AceStep
from models.base import Row, Text
from models.checkpoints import Checkpoint
from tests.api import Api, Json, beat, error_of, wait_until
from tests.conftest import Twin


def _events(api: Api, job_id: str, until: str, **headers: str) -> list[Json]:
    """The records that the stream sent until one was in the state, or the stream ended."""
    records = []
    with api.client.stream("GET", f"/jobs/{job_id}/events", headers=headers) as stream:
        assert stream.status_code == 200 and stream.headers["content-type"].startswith("text/event-stream")
        for line in stream.iter_lines():
            if line.startswith("data: "):
                records.append(json.loads(line.removeprefix("data: ")))
                if records[-1]["state"] == until and records[-1]["step"]:
                    break
    return records


def _cancelled(api: Api, job_id: str) -> Json:
    """The record once the job has ended; on a busy machine that is after the request was answered."""
    api.post(f"/jobs/{job_id}/cancel")
    return api.ended(job_id)


@pytest.fixture
def _cancel_afterwards(api: Api) -> Iterator[None]:
    """Cancel the job, so that it does not run beside later tests."""
    yield
    api.client.post("/jobs/quitter-job/cancel")


@pytest.mark.usefixtures("_cancel_afterwards")
def test_a_cancelled_job_leaves_a_partial_twin_and_resumes_where_it_was(api: Api) -> None:
    path = api.upload("quitter", beat(8), job_id="takes", filename="beat.wav")
    body: Json = {"producer_id": "quitter", "upload_paths": [path], "job_id": "quitter-job", "max_steps": 100_000}
    api.post("/train/submit", **body)
    records = _events(api, "quitter-job", "training")
    assert records[-1]["state"] == "training" and records[-1]["loss"] > 0 and records[-1]["total_steps"] == 100_000
    stages = [record["progress"]["stage"] for record in records if record["progress"]]
    assert set(stages) & {"fetching", "analysing", "cutting", "listening", "encoding"}
    assert records[-1]["progress"] is None
    early = api.get("/jobs/quitter-job/report.json")
    assert not early["complete"] and early["verdict"] is None and "fewer than 3 songs" in str(early["data"]["warnings"])

    ended = _cancelled(api, "quitter-job")
    assert ended["state"] == "cancelled" and ended["step"] >= records[-1]["step"] and ended["error"] is None
    assert ended["result"]["lora_path"] == "/data/loras/quitter_nawfside_lora.safetensors"
    [twin] = api.get("/loras", producer_id="quitter")["loras"]
    assert twin["usable"] and f"cancelled at step {ended['step']} of 100000" in twin["reason"]
    [version] = api.get("/loras/quitter:nawfside_lora/versions")["versions"]
    assert version["partial"] == f"{ended['step']}/100000" and version["job_id"] == "quitter-job"
    assert not np.array_equal(api.generate(), api.generate(lora_id="quitter:nawfside_lora"))
    assert api.post("/jobs/quitter-job/cancel") == ended

    resumed = api.post("/jobs/quitter-job/resume")
    # The job may have started already.
    assert (resumed["state"], resumed["queue_position"]) in [("queued", 1), ("preparing", None)]
    assert resumed["result"] is None
    again = _events(api, "quitter-job", "training")[-1]
    assert again["step"] >= ended["step"]
    assert api.post("/jobs/quitter-job/resume")["state"] == "training"
    assert _cancelled(api, "quitter-job")["state"] == "cancelled"


@pytest.mark.parametrize("what", ["cancel", "resume"])
def test_a_job_that_is_done_is_neither_cancelled_nor_resumed(api: Api, twins: dict[str, Twin], what: str) -> None:
    assert "is done" in error_of(api.client.post(f"/jobs/ace-job/{what}"), 409)
    error_of(api.client.post(f"/jobs/nobody/{what}"), 404)


def test_a_job_that_has_ended_has_one_event(api: Api, twins: dict[str, Twin]) -> None:
    [only] = _events(api, "ace-job", "never")
    assert only == api.get("/jobs/ace-job")
    answer = api.client.get("/jobs/ace-job/events")
    last = re.findall(r"^id: (\S+)$", answer.text, re.MULTILINE)[-1]
    assert api.client.get("/jobs/ace-job/events", headers={"last-event-id": last}).status_code == 204
    error_of(api.client.get("/jobs/nobody/events"), 404)


def test_every_job_ends_with_a_report(api: Api, twins: dict[str, Twin]) -> None:
    for job_id, backend in (("ace-job", "ace_step"), ("music-job", "musicgen")):
        report = api.get(f"/jobs/{job_id}/report.json")
        assert report["complete"] and report["backend"] == backend
        assert report["training"]["steps"] == 8 and len(report["training"]["loss"]) == 8
        assert report["verdict"]["verdict"] == "too little data" and "held out" in report["verdict"]["sentence"]
        assert report["held_out"] is None and any("none was held out" in line for line in report["unmeasured"])
        assert report["trained_on"]["without"] > 0 and report["other_music"]["count"] == 8
        nearness = report["resemblance"]
        assert (nearness["own"] is None) == (report["data"]["songs"] == 1)
        for name in ("with_twin", "without", "nearer", "codec", "other_music"):
            assert nearness[name]["low"] <= nearness[name]["value"] <= nearness[name]["high"]
        assert nearness["held_out"] is None and "embedding" in nearness["space"]
        memorised = report["memorised"]
        assert 0 <= memorised["memorised"] <= memorised["pieces"] and memorised["threshold"] == 0.7
        assert 0 <= memorised["segment"] < report["data"]["segments"]
        for measure in ("pulse", "persistence"):
            assert report["heard"][measure].keys() == {"own", "codec", "without", "with_twin", "difference"}
        page = api.client.get(f"/jobs/{job_id}/report")
        assert page.status_code == 200 and page.headers["content-type"].startswith("text/html")
        assert page.text.count("data:audio/mpeg;base64,") >= 7 and "data:image/png;base64," in page.text
        assert not re.search(r'(?:src|href)="(?!data:)', page.text) and "<polyline" in page.text
        stored = {path.name for path in (api.folder / "job_runs" / job_id).rglob("*")}
        assert "report.html" in stored and any(name.startswith("events.out.tfevents") for name in stored)
    error_of(api.client.get("/jobs/nobody/report"), 404)


def test_the_report_tells_each_song_by_its_name_and_plays_a_clip_of_it(api: Api, twins: dict[str, Twin]) -> None:
    report = api.get("/jobs/ace-job/report.json")
    songs = report["data"]["by_song"]
    assert [song["name"] for song in songs] == ["Beat", "set"]
    assert songs[0]["tempo"]["value"] == 140 and songs[0]["tempo"]["source"] == "metadata"
    assert {"text": "Beat", "source": "metadata", "segments": songs[0]["segments"]} in songs[0]["words"]
    assert {row["song"] for row in report["trained_on"]["by_song"]} == {0, 1}
    for clip in report["own_clips"]:
        answer = api.client.get(f"/jobs/ace-job/previews/{clip['name']}")
        samples, rate = soundfile.read(io.BytesIO(answer.content))
        assert len(samples) / rate == pytest.approx(6, abs=0.2) and np.abs(samples).max() > 0.1
    assert report["own_clips"]
    text = api.client.get("/jobs/ace-job/report").text
    assert "your song Beat, which the twin was trained on" in text and "/data/uploads" not in text


def test_what_a_training_takes_is_told_before_it_starts(api: Api, twins: dict[str, Twin]) -> None:
    assert twins["ace_step"].submitted is not None and twins["ace_step"].submitted["total_steps"] == 8

    def learned() -> bool:
        rows = [row["training"] for row in api.get("/backends")["backends"]]
        assert [row["steps_per_second"] for row in rows] == [2.5, 1.25]
        return all(row["seconds_per_step"] and row["seconds_besides"] for row in rows)

    wait_until(learned, pause=5)
    path = api.upload("asker", beat(100), job_id="takes", filename="beat.wav")
    told = api.post("/train/submit", producer_id="asker", upload_paths=[path], job_id="asker-job")
    try:
        assert told["total_steps"] == 250 and told["estimated_seconds"] > 0
    finally:
        api.post("/jobs/asker-job/cancel")


def test_previews_are_mp3_files_with_sound(api: Api, twins: dict[str, Twin]) -> None:
    for preview in api.get("/jobs/ace-job")["previews"]:
        answer = api.client.get(preview["url"])
        assert answer.status_code == 200 and answer.headers["content-type"] == "audio/mpeg"
        samples, rate = soundfile.read(io.BytesIO(answer.content))
        assert len(samples) / rate == pytest.approx(6, abs=0.2) and np.abs(samples).max() > 0.01
    for absent in ("step_000099.mp3", "checkpoint.pt", "%2e%2e%2fcheckpoint.pt"):
        assert api.client.get(f"/jobs/ace-job/previews/{absent}").status_code == 404


def test_a_finished_jobs_adapter_sounds_the_same_in_diffusers(
    api: Api, twins: dict[str, Twin], tiny: dict[str, str]
) -> None:
    file = api.file(twins["ace_step"].result["lora_path"])
    folder = Path(tiny["ACE_STEP_MODEL"])
    ours = AceStep.load(Checkpoint("tiny", folder, ""), torch.device("cpu"), torch.float32)
    twin = decode(file.read_bytes(), ours)
    assert isinstance(twin.header, Header)
    text = Text("dark trap", bpm=120, key="C minor", time_signature="4")
    [here] = ours.generate([Row(text, 2.0, SamplingOptions(seed=3), adapters=[(twin, 1.0)])])
    pipeline: Any = type(ours.pipeline).from_pretrained(folder)
    pipeline.load_lora_weights(file.parent, weight_name=file.name)
    there = pipeline(
        prompt=text.prompt,
        lyrics="[Instrumental]",
        audio_duration=2.0,
        bpm=text.bpm,
        keyscale=text.key,
        timesignature=text.time_signature,
        generator=torch.Generator().manual_seed(3),
    ).audios[0]
    assert isinstance(here, np.ndarray)
    assert np.abs(here - np.asarray(there)[:, : here.shape[1]]).max() <= 1e-4


def test_jobs_cannot_be_changed_without_the_password(strict: Api) -> None:
    for what in ("cancel", "resume"):
        error_of(httpx.post(f"{strict.server.url}/jobs/anything/{what}", trust_env=False), 401)
