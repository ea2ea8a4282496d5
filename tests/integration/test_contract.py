"""The contract over real HTTP, with real audio, for both backends."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest
import soundfile
from safetensors.numpy import load, save

from adapters.adapter_file import header_length, seal
from contract import TaskAnswer
from tests.api import (
    BACKENDS,
    CHANNELS,
    RATES,
    Api,
    Json,
    Samples,
    as_base64,
    beat,
    checked,
    decoded,
    error_of,
    wait_until_ready,
    with_header,
)
from tests.conftest import Twin
from tests.sounds import chord, written

JOB_KEYS = [
    *("job_id", "task_id", "producer_id", "model_name", "backend", "state", "step", "total_steps", "loss"),
    *("held_out_loss", "steps_per_second", "seconds_left", "queue_position", "created_at", "updated_at", "error"),
    *("result", "previews"),
]
TRAIN_KEYS = {"job_id", "producer_id", "model_name", "backend", "lora_path", "models_path"}
GENERATE_KEYS = {"audio_base64", "backend", "seed", "sample_rate", "duration_seconds", "output_path"}
LORA_KEYS = {
    *("lora_id", "producer_id", "model_name", "backend", "version", "rank", "base", "usable", "reason"),
    *("created_at", "bytes", "sha256"),
}
BACKEND_KEYS = {
    *("name", "ready", "reason", "checkpoint", "licence", "commercial_use", "sample_rate", "channels"),
    *("max_duration_seconds", "default", "under_way"),
}
both_backends = pytest.mark.parametrize("backend", BACKENDS)


# Upload


@pytest.mark.parametrize("format", ["WAV", "FLAC", "MP3"])
def test_an_upload_is_kept_as_it_came(api: Api, format: str) -> None:
    data, name = beat(20, format, rate=44_100, channels=1), f"beat.{format.lower()}"
    body = {"producer_id": "uploader", "job_id": "j.1", "filename": name, "content_base64": as_base64(data)}
    answer = api.post("/store-upload", **body)
    path = f"/data/uploads/uploader/j.1/{name}"
    assert answer == {"path": path, "producer_id": "uploader", "job_id": "j.1", "warnings": []}
    assert api.file(answer["path"]).read_bytes() == data


def test_a_flaw_is_said_at_upload_and_analysis(api: Api) -> None:
    data = written(chord(4, channels=1) * [[1, -1]])
    answer = api.post("/store-upload", producer_id="uploader", content_base64=as_base64(data))
    assert "cancel each other" in answer["warnings"][0]
    form = api.client.post("/uploads", data={"producer_id": "uploader"}, files={"file": ("b.wav", data)}).json()
    assert form["warnings"] == answer["warnings"]
    analysis = checked(api.client.get("/uploads/analysis", params={"path": answer["path"]}))
    assert analysis["warnings"] == answer["warnings"]


def test_an_upload_needs_only_a_producer_and_the_sound(api: Api) -> None:
    answers = [api.post("/store-upload", producerId="uploader", contentBase64=as_base64(beat(1))) for _ in range(2)]
    for answer in answers:
        assert answer["path"] == f"/data/uploads/uploader/{answer['job_id']}/audio.wav"
    assert answers[0]["job_id"] != answers[1]["job_id"]


def test_the_same_bytes_again_are_welcome_and_others_are_not(api: Api) -> None:
    body = {"producer_id": "uploader", "job_id": "twice", "filename": "a.wav", "content_base64": as_base64(beat(1))}
    first = api.post("/store-upload", **body)
    camel = {"producerId": "uploader", "jobId": "twice", "filename": "a.wav", "contentBase64": body["content_base64"]}
    assert api.post("/store-upload", **camel) == first
    other = api.client.post("/store-upload", json=body | {"content_base64": as_base64(beat(1, number=8))})
    assert "filename" in error_of(other, 409)
    assert api.file(first["path"]).read_bytes() == beat(1)


def test_a_file_name_is_reduced_to_its_last_part(api: Api) -> None:
    path = api.upload("uploader", beat(1), job_id="name", filename="C:\\beats\\../my beat.wav")
    assert path == "/data/uploads/uploader/name/my beat.wav"


# Train


@both_backends
def test_training_answers_where_the_twin_lies(api: Api, twins: dict[str, Twin], backend: str) -> None:
    result = twins[backend].result
    assert result.keys() == TRAIN_KEYS
    assert (result["producer_id"], result["backend"]) == ("studio", backend)
    assert result["lora_path"] == f"/data/loras/studio_{result['model_name']}.safetensors"
    assert result["models_path"] == "/data/models/studio/adapter_model.safetensors"
    assert api.file(result["lora_path"]).is_file()
    # The other path holds the producer's newest twin, which is MusicGen's.
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


# Generate

FORMATS = {"wav": ("WAV", "PCM_16"), "flac": ("FLAC", "PCM_16"), "mp3": ("MP3", None), "opus": ("OGG", "OPUS")}
MEDIA_TYPES = {"wav": "audio/wav", "flac": "audio/flac", "mp3": "audio/mpeg", "opus": "audio/ogg"}


def assert_is_music(samples: Samples, rate: int, backend: str, seconds: float) -> None:
    assert samples.shape[1] == CHANNELS[backend]
    assert len(samples) / rate == pytest.approx(seconds, abs=0.1)
    assert np.isfinite(samples).all()
    assert np.sqrt(np.mean(samples**2)) > 0.005, "it is silent"
    # A lossy format overshoots the peak of what is little but noise.
    assert np.mean(np.abs(samples) >= 0.999) < 0.005, "it is clipped"


@both_backends
@pytest.mark.parametrize("output_format", FORMATS)
def test_a_track_is_a_valid_file(api: Api, backend: str, output_format: str) -> None:
    body = {"prompt": "808 trap beat", "duration_seconds": 3.5, "seed": 3, "output_format": output_format}
    made = api.post("/generate", **body, backend_override=backend)
    assert made.keys() == GENERATE_KEYS
    assert (made["backend"], made["seed"]) == (backend, 3)
    file = base64.b64decode(made["audio_base64"])
    info = soundfile.info(io.BytesIO(file))
    container, subtype = FORMATS[output_format]
    assert info.format == container and subtype in (None, info.subtype)
    samples, rate = decoded(file)
    # Opus has no rate of 32 kHz.
    assert made["sample_rate"] == rate == (48_000 if output_format == "opus" else RATES[backend])
    assert made["duration_seconds"] == pytest.approx(3.5, abs=0.1)
    assert_is_music(samples, rate, backend, 3.5)
    assert api.file(made["output_path"]).read_bytes() == file


@both_backends
def test_who_accepts_audio_gets_the_bytes(api: Api, backend: str) -> None:
    body = {"prompt": "trap", "duration_seconds": 2, "seed": 7, "backend_override": backend}
    as_json, _ = decoded(base64.b64decode(api.post("/generate", **body)["audio_base64"]))
    for accept in ("audio/wav", "audio/*"):
        answer = api.client.post("/generate", json=body, headers={"accept": accept})
        assert answer.status_code == 200 and answer.headers["content-type"] == "audio/wav"
        # The files differ in the time that their tags tell.
        assert np.array_equal(decoded(answer.content)[0], as_json)
        assert api.file(answer.headers["x-output-path"]).read_bytes() == answer.content


@pytest.mark.parametrize("output_format", FORMATS)
def test_bytes_say_what_they_are(api: Api, output_format: str) -> None:
    body = {"prompt": "trap", "duration_seconds": 1, "output_format": output_format}
    answer = api.client.post("/generate", json=body, headers={"accept": "audio/*"})
    assert answer.headers["content-type"] == MEDIA_TYPES[output_format]


@pytest.mark.parametrize(
    ("accept", "fields", "media_type"),
    [
        ("audio/mpeg", {}, "audio/mpeg"),
        ("audio/flac", {}, "audio/flac"),
        ("audio/ogg", {}, "audio/ogg"),
        ("audio/wav;q=0.5, audio/mpeg", {}, "audio/mpeg"),
        ("audio/mpeg", {"output_format": "flac"}, "audio/flac"),
        ("audio/mpeg", {"output_format": None}, "audio/mpeg"),
        ("audio/mpeg", {"response": "url"}, "application/json"),
        ("application/json, */*", {}, "application/json"),
        ("audio/aac", {}, "application/json"),
    ],
)
def test_accept_names_the_answer(api: Api, accept: str, fields: Json, media_type: str) -> None:
    body = {"prompt": "trap", "duration_seconds": 1} | fields
    answer = api.client.post("/generate", json=body, headers={"accept": accept})
    assert answer.status_code == 200 and answer.headers["content-type"].partition(";")[0] == media_type
    if media_type != "application/json":
        container = {"audio/mpeg": "MP3", "audio/flac": "FLAC", "audio/ogg": "OGG"}[media_type]
        assert soundfile.info(io.BytesIO(answer.content)).format == container


def test_accept_may_come_in_two_headers(api: Api) -> None:
    headers = [("accept", "application/json;q=0.5"), ("accept", "audio/mpeg")]
    answer = api.client.post("/generate", json={"prompt": "trap", "duration_seconds": 1}, headers=headers)
    assert answer.headers["content-type"] == "audio/mpeg"


@both_backends
def test_words_are_read_as_other_tools_write_them(api: Api, backend: str) -> None:
    body = {"duration_seconds": 1, "backend_override": backend}
    plain = api.generate(**body, bpm=140, key="A minor", time_signature="4")
    for spelled in ({"bpm": "140 BPM", "key": "8A"}, {"bpm": 140.4, "key": "Am"}):
        assert np.array_equal(api.generate(**body, **spelled, time_signature="4/4"), plain)
    assert np.array_equal(api.generate(**body, bpm="140", key="a minor", time_signature=4), plain)
    unsaid = api.generate(**body, bpm=0, key="auto", time_signature="")
    assert np.array_equal(unsaid, api.generate(**body))


def test_a_seed_of_minus_one_is_drawn(api: Api) -> None:
    drawn = [api.post("/generate", prompt="x", duration_seconds=1, seed=-1)["seed"] for _ in range(2)]
    assert drawn[0] != drawn[1] and min(drawn) >= 0


@both_backends
def test_a_minute_is_what_one_gets_by_default(api: Api, backend: str) -> None:
    made = api.post("/generate", prompt="slow piano", backend_override=backend, seed=1, duration_seconds=None)
    samples, rate = decoded(base64.b64decode(made["audio_base64"]))
    assert_is_music(samples, rate, backend, 60)
    # MusicGen's window is 30 s: what comes after must go on, and not begin again.
    last = samples[-20 * rate :]
    assert np.sqrt(np.mean(last**2)) > 0.005
    assert not np.array_equal(samples[: 20 * rate], last)


@both_backends
def test_a_seed_repeats_a_track_and_another_does_not(api: Api, backend: str) -> None:
    first = api.generate(backend_override=backend)
    assert np.array_equal(first, api.generate(backend_override=backend))
    assert not np.array_equal(first, api.generate(backend_override=backend, seed=8))


def test_a_seed_that_was_drawn_repeats_its_track(api: Api) -> None:
    body = {"prompt": "dark trap", "duration_seconds": 1}
    drawn, other = api.post("/generate", **body), api.post("/generate", **body)
    assert drawn["seed"] != other["seed"]
    again = api.post("/generate", **body, seed=drawn["seed"])
    first, second, third = (decoded(base64.b64decode(made["audio_base64"]))[0] for made in (drawn, other, again))
    assert np.array_equal(first, third)
    assert not np.array_equal(first, second)


@both_backends
def test_a_twin_sounds_unlike_the_base_model(api: Api, twins: dict[str, Twin], backend: str) -> None:
    twin = twins[backend].lora_id
    base = api.generate(backend_override=backend)
    # The twin's own backend serves it, whether it is named or not.
    with_twin = api.generate(lora_id=twin)
    assert np.array_equal(with_twin, api.generate(lora_id=twin, backend_override=backend))
    assert with_twin.shape == base.shape and not np.array_equal(with_twin, base)
    assert np.array_equal(api.generate(lora_id=twin, lora_scale=0), base)
    assert not np.array_equal(api.generate(lora_id=twin, lora_scale=0.5), with_twin)
    made = api.post("/generate", prompt="x", duration_seconds=1, lora_id=twin)
    assert made["backend"] == backend and made["output_path"].startswith("/data/outputs/twins/studio/")


@both_backends
def test_a_track_is_the_same_alone_or_among_others(api: Api, twins: dict[str, Twin], backend: str) -> None:
    twin = twins[backend].lora_id
    requests: list[Json] = [
        {"prompt": "dark trap", "duration_seconds": 2, "seed": 1, "lora_id": twin},
        {"prompt": "a long and slow piano piece", "duration_seconds": 4, "seed": 2, "backend_override": backend},
        {"prompt": "house", "duration_seconds": 3, "seed": 3, "lora_id": twin, "lora_scale": 1.5},
        {"prompt": "lo-fi", "duration_seconds": 1, "seed": 4, "backend_override": backend},
    ]
    alone = [api.generate(**request) for request in requests]
    with ThreadPoolExecutor(len(requests)) as pool:
        together = list(pool.map(lambda request: api.generate(**request), requests))
    for one, other in zip(alone, together, strict=True):
        assert one.shape == other.shape
        assert np.abs(one - other).max() <= 1.01 / 32768


WORDS = {"lyrics": "[verse]\nwe ride at night", "bpm": 90, "key": "F# minor", "time_signature": "3"}


@both_backends
@pytest.mark.parametrize("field", WORDS)
def test_what_is_said_beside_the_prompt_is_heard(api: Api, backend: str, field: str) -> None:
    plain = api.generate(backend_override=backend, duration_seconds=1)
    said = api.generate(backend_override=backend, duration_seconds=1, **{field: WORDS[field]})
    assert not np.array_equal(plain, said)


@both_backends
def test_steps_and_guidance_are_taken(api: Api, backend: str) -> None:
    samples = api.generate(backend_override=backend, duration_seconds=1, steps=2, guidance=2.5)
    assert len(samples) / RATES[backend] == pytest.approx(1, abs=0.1)


def test_null_is_the_same_as_leaving_a_field_out(api: Api) -> None:
    optional = ["lora_id", "backend_override", "lora_scale", "lyrics", "bpm", "key", "time_signature", "steps"]
    nulls: Json = dict.fromkeys([*optional, "loras", "guidance", "shift", "temperature", "output_format"])
    assert np.array_equal(api.generate(**nulls), api.generate())


def test_both_spellings_are_the_same_field(api: Api, twins: dict[str, Twin]) -> None:
    body = {"prompt": "x", "seed": 7, "lora_id": twins["musicgen"].lora_id, "lora_scale": 0.5, "time_signature": "3"}
    snake = api.post(
        "/generate", **body, duration_seconds=1.5, backend_override="musicgen", output_format="flac", guidance=2
    )
    camel = api.post(
        "/generate",
        prompt="x",
        seed=7,
        loraId=body["lora_id"],
        loraScale=0.5,
        timeSignature="3",
        durationSeconds=1.5,
        backendOverride="musicgen",
        outputFormat="flac",
        guidance=2,
    )
    for field in ("backend", "duration_seconds"):
        assert snake[field] == camel[field]
    # The files themselves tell the second in which they were made.
    one, other = (decoded(base64.b64decode(made["audio_base64"])) for made in (snake, camel))
    assert one[1] == other[1] and np.array_equal(one[0], other[0])


# Twins


def test_backends_are_told(api: Api) -> None:
    wait_until_ready(api)
    rows: Sequence[Json] = api.get("/backends")["backends"]
    assert [row["name"] for row in rows] == list(BACKENDS)
    for row in rows:
        assert row.keys() == BACKEND_KEYS
        assert row["ready"] is True and row["reason"] is None
        assert (row["sample_rate"], row["channels"]) == (RATES[row["name"]], CHANNELS[row["name"]])
    ace, music = rows
    assert (ace["default"], ace["commercial_use"], ace["max_duration_seconds"]) == (True, True, 600)
    assert (music["default"], music["commercial_use"]) == (False, False)
    assert "NC" in music["licence"]


def test_twins_are_listed(api: Api, twins: dict[str, Twin]) -> None:
    rows = {row["lora_id"]: row for row in api.get("/loras", producer_id="studio")["loras"]}
    assert rows.keys() == {twin.lora_id for twin in twins.values()}
    for twin in twins.values():
        row, file = rows[twin.lora_id], api.file(twin.result["lora_path"]).read_bytes()
        assert row.keys() == LORA_KEYS
        assert row == api.get(f"/loras/{twin.lora_id}")
        assert (row["backend"], row["usable"], row["reason"]) == (twin.backend, True, None)
        assert row["bytes"] == len(file)
        assert row["sha256"] == hashlib.sha256(file[8 + header_length(file) :]).hexdigest()
    assert rows.keys() <= {row["lora_id"] for row in api.get("/loras")["loras"]}
    assert api.get("/loras", producerId="nobody") == {"loras": []}


def adapter_of(api: Api, twin: Twin, producer: str, model: str = "twin", **fields: str) -> bytes:
    """The twin's adapter under another name."""
    data = api.file(twin.result["lora_path"]).read_bytes()
    return with_header(data, producer_id=producer, model_name=model, **fields)


def paths(api: Api, producer: str, model: str = "twin") -> list[Path]:
    return [
        api.folder / f"loras/{producer}_{model}.safetensors",
        api.folder / f"models/{producer}/adapter_model.safetensors",
    ]


def put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


@both_backends
def test_a_blend_has_the_strength_of_one(api: Api, twins: dict[str, Twin], backend: str) -> None:
    """A twin and its double in equal parts are the twin, whatever their weights add up to."""
    one, double = twins[backend].lora_id, f"double{backend}:twin"
    put(paths(api, f"double{backend}")[0], adapter_of(api, twins[backend], f"double{backend}"))
    blend = [{"lora_id": one, "weight": 1}, {"loraId": double}]
    assert np.abs(api.generate(loras=blend) - api.generate(lora_id=one)).max() <= 1.01 / 32768
    half = api.generate(loras=[{"lora_id": one, "weight": 0.3}, {"lora_id": double, "weight": 0.3}], lora_scale=0.5)
    assert np.abs(half - api.generate(lora_id=one, lora_scale=0.5)).max() <= 1.01 / 32768
    cancelled = api.generate(loras=[{"lora_id": one, "weight": 1}, {"lora_id": double, "weight": -1}])
    assert np.abs(cancelled - api.generate(backend_override=backend)).max() <= 0.01


@both_backends
@pytest.mark.parametrize("place", [0, 1])
def test_a_twin_is_found_at_either_path(api: Api, twins: dict[str, Twin], backend: str, place: int) -> None:
    producer = f"either{place}{backend}"
    put(paths(api, producer)[place], adapter_of(api, twins[backend], producer))
    assert api.get(f"/loras/{producer}:twin")["backend"] == backend
    found = api.generate(lora_id=f"{producer}:twin")
    assert np.array_equal(found, api.generate(lora_id=twins[backend].lora_id))


def misshapen(adapter: bytes) -> bytes:
    """The same adapter, its first layer for another width; its header and digest are right."""
    tensors = load(adapter)
    name = min(name for name in tensors if name.endswith("lora_A.weight"))
    tensors[name] = np.ascontiguousarray(tensors[name][:, :-1])
    plain = save(tensors)
    header = json.loads(adapter[8 : 8 + header_length(adapter)])["__metadata__"]
    digest = hashlib.sha256(plain[8 + header_length(plain) :]).hexdigest()
    return seal(save(tensors, header | {"sha256": digest}))


DAMAGE = {
    "placeholder": lambda adapter: b"placeholder",
    "empty": lambda adapter: b"",
    "truncated": lambda adapter: adapter[:-100],
    "misshapen": misshapen,
}


@both_backends
@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_file_is_skipped_and_never_replaced_by_the_base_model(
    api: Api, twins: dict[str, Twin], backend: str, kind: str
) -> None:
    producer = f"{kind}_{backend}"
    lora_id = f"{producer}:twin"
    whole = adapter_of(api, twins[backend], producer)
    first, second = paths(api, producer)
    put(first, DAMAGE[kind](whole))
    body = {"prompt": "x", "duration_seconds": 1, "lora_id": lora_id}
    error = error_of(api.client.post("/generate", json=body), 404)
    assert lora_id in error and "lora_id" in error
    put(second, whole)
    assert np.array_equal(api.generate(lora_id=lora_id), api.generate(lora_id=twins[backend].lora_id))


@pytest.mark.parametrize("kind", ["placeholder", "empty", "truncated"])
def test_the_error_names_the_file_that_was_skipped(api: Api, twins: dict[str, Twin], kind: str) -> None:
    producer = f"named_{kind}"
    for path in paths(api, producer):
        put(path, DAMAGE[kind](adapter_of(api, twins["ace_step"], producer)))
    body = {"prompt": "x", "duration_seconds": 1, "lora_id": f"{producer}:twin"}
    for answer in (api.client.post("/generate", json=body), api.client.get(f"/loras/{producer}:twin")):
        error = error_of(answer, 404)
        for path in paths(api, producer):
            assert f"/data/{path.relative_to(api.folder).as_posix()}" in error


def test_a_twin_of_another_checkpoint_is_to_be_trained_again(api: Api, twins: dict[str, Twin]) -> None:
    put(paths(api, "old")[0], adapter_of(api, twins["ace_step"], "old", base_sha256="0" * 64))
    row = api.get("/loras/old:twin")
    assert row["usable"] is False and "train it again" in row["reason"]
    body = {"prompt": "x", "duration_seconds": 1, "lora_id": "old:twin"}
    assert "train it again" in error_of(api.client.post("/generate", json=body), 409)


@both_backends
def test_a_deleted_twin_is_gone(api: Api, twins: dict[str, Twin], backend: str) -> None:
    producer = f"gone_{backend}"
    lora_id = f"{producer}:twin"
    files = paths(api, producer)
    for path in files:
        put(path, adapter_of(api, twins[backend], producer))
    api.generate(lora_id=lora_id, duration_seconds=1)
    assert api.client.delete(f"/loras/{lora_id}").status_code == 200
    assert not any(path.exists() for path in files)
    body = {"prompt": "x", "duration_seconds": 1, "lora_id": lora_id}
    for answer in (
        api.client.get(f"/loras/{lora_id}"),
        api.client.delete(f"/loras/{lora_id}"),
        api.client.post("/generate", json=body),
    ):
        assert lora_id in error_of(answer, 404)
    assert lora_id not in [row["lora_id"] for row in api.get("/loras")["loras"]]


def test_ids_that_differ_only_in_case_stay_apart(api: Api, twins: dict[str, Twin]) -> None:
    low, high = (api.upload(name, beat(1, number=i), job_id="j") for i, name in enumerate(("case", "CASE")))
    assert low != high
    assert (api.file(low).read_bytes(), api.file(high).read_bytes()) == (beat(1, number=0), beat(1, number=1))
    sounds = []
    for producer, backend in (("case", "ace_step"), ("CASE", "musicgen")):
        put(paths(api, producer)[0], adapter_of(api, twins[backend], producer))
        assert api.get(f"/loras/{producer}:twin")["backend"] == backend
        sounds.append(api.generate(lora_id=f"{producer}:twin"))
    assert sounds[0].shape != sounds[1].shape
    assert [row["lora_id"] for row in api.get("/loras", producer_id="CASE")["loras"]] == ["CASE:twin"]
    checked(api.client.delete("/loras/CASE:twin"))
    assert np.array_equal(api.generate(lora_id="case:twin"), sounds[0])


# Health


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/healthz"])
def test_health_is_told(api: Api, path: str) -> None:
    assert api.client.get(path).status_code == 200


def test_the_front_imports_no_torch(api: Api) -> None:
    def maps(process: psutil.Process) -> str:
        return Path(f"/proc/{process.pid}/maps").read_text()

    front = api.process("ProducerTwin")
    port = httpx.URL(api.server.url).port
    assert port in [place.laddr.port for place in front.net_connections("tcp") if place.status == psutil.CONN_LISTEN]
    assert "libtorch" not in maps(front)
    assert "libtorch" in maps(api.process("AceStepRunner"))
