"""Tracks as files: formats, length, `Accept`, and the fields of a request."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
import soundfile

from tests.adapter_files import header_of
from tests.api import CHANNELS, RATES, Api, Json, Samples, both_backends, decoded
from tests.conftest import Twin

GENERATE_KEYS = {"audio_base64", "backend", "seed", "sample_rate", "duration_seconds", "output_path", "lora_scale"}


FORMATS = {"wav": ("WAV", "PCM_16"), "flac": ("FLAC", "PCM_16"), "mp3": ("MP3", None), "opus": ("OGG", "OPUS")}
MEDIA_TYPES = {"wav": "audio/wav", "flac": "audio/flac", "mp3": "audio/mpeg", "opus": "audio/ogg"}


def assert_is_music(samples: Samples, rate: int, backend: str, seconds: float) -> None:
    assert samples.shape[1] == CHANNELS[backend]
    assert len(samples) / rate == pytest.approx(seconds, abs=0.1)
    assert np.isfinite(samples).all()
    assert np.sqrt(np.mean(samples**2)) > 0.005, "it is silent"
    # A lossy format overshoots the peaks of noise.
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
        # The files differ in the time of their tags.
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


# MusicGen's minute is 3,000 tokens, one after the other.
@pytest.mark.parametrize("backend", ["ace_step", pytest.param("musicgen", marks=pytest.mark.long)])
def test_a_minute_is_what_one_gets_by_default(api: Api, backend: str) -> None:
    made = api.post("/generate", prompt="slow piano", backend_override=backend, seed=1, duration_seconds=None)
    samples, rate = decoded(base64.b64decode(made["audio_base64"]))
    assert_is_music(samples, rate, backend, 60)
    # MusicGen's window is 30 s; what follows must not start again.
    last = samples[-20 * rate :]
    assert np.sqrt(np.mean(last**2)) > 0.005
    assert not np.array_equal(samples[: 20 * rate], last)


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
    # The files hold the second in which they were made, so only the samples can be compared.
    one, other = (decoded(base64.b64decode(made["audio_base64"])) for made in (snake, camel))
    assert one[1] == other[1] and np.array_equal(one[0], other[0])


def test_a_twin_plays_at_the_tempo_of_its_music_unless_another_is_named(api: Api, twins: dict[str, Twin]) -> None:
    twin = twins["ace_step"]
    tempo = header_of(api.file(twin.result["lora_path"]).read_bytes())["bpm"]
    default = api.generate(lora_id=twin.lora_id)
    assert np.array_equal(default, api.generate(lora_id=twin.lora_id, bpm=int(tempo)))
    assert not np.array_equal(default, api.generate(lora_id=twin.lora_id, bpm=61))
