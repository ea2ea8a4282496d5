"""Editing over HTTP: what is kept is kept to the bit, files in a form, and requests that are refused."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile

from api.auth.keys import new_key
from tests.api import Api, Json, beat, checked, error_of, running
from tests.sounds import chord, written

ADAS_KEY, _RECORD = new_key("ada's artist", ["generate"], producers=["ada"])
AS_ADA = {"authorization": f"Bearer {ADAS_KEY}"}
RATE = 44_100
SECONDS = 3.0
FORMATS = {"PCM_16": "int16", "PCM_24": "int32", "FLOAT": "float32"}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, tiny: dict[str, str]) -> Iterator[Api]:
    """A service with a key for the tracks of one producer; programs on this machine need none."""
    environment = tiny | {"GUEST_KEY": _RECORD.model_dump_json(), "MAX_DURATION_SECONDS": "8"}
    with running(tmp_path_factory.mktemp("editing"), environment) as api:
        yield api


@pytest.fixture(scope="module")
def uploads(service: Api) -> dict[str, str]:
    """A song of each sample format, by its subtype, and one of another producer."""
    sound = chord(SECONDS, RATE) + 0.01 * np.random.default_rng(1).normal(size=(round(SECONDS * RATE), 2))
    paths = {
        subtype: service.upload("ada", written(sound, RATE, subtype=subtype), filename=f"{subtype}.wav")
        for subtype in FORMATS
    }
    paths["FLAC"] = service.upload("ada", written(sound, RATE, "FLAC", subtype="PCM_24"), filename="24.flac")
    paths["bob"] = service.upload("bob", written(sound, RATE), filename="song.wav")
    return paths


def edited(service: Api, **body: Any) -> Json:
    return service.post("/generate", **({"prompt": "dark trap", "seed": 7} | body))


def samples_of(file: bytes, dtype: str = "int16") -> tuple[Any, soundfile.SoundFile]:
    sound = soundfile.SoundFile(io.BytesIO(file))
    return sound.read(dtype=dtype, always_2d=True), sound


def audio_of(made: Json) -> bytes:
    return base64.b64decode(made["audio_base64"])


@pytest.mark.parametrize("subtype", FORMATS)
def test_repaint_keeps_what_is_outside_the_window(service: Api, uploads: dict[str, str], subtype: str) -> None:
    path, dtype = uploads[subtype], FORMATS[subtype]
    made = edited(service, task="repaint", source=path, start=1, end=2)
    own, _ = samples_of(service.file(path).read_bytes(), dtype)
    result, sound = samples_of(audio_of(made), dtype)
    assert (sound.samplerate, sound.channels, sound.subtype) == (RATE, 2, subtype)
    assert made["sample_rate"] == RATE and made["duration_seconds"] == SECONDS
    assert result.shape == own.shape
    assert np.array_equal(result[:RATE], own[:RATE]) and np.array_equal(result[2 * RATE :], own[2 * RATE :])
    assert not np.array_equal(result[RATE : 2 * RATE], own[RATE : 2 * RATE])
    assert f"task=repaint; source={path}" in sound.comment
    # What is made of a producer's recording belongs to the producer.
    assert made["output_path"].startswith("/data/outputs/twins/ada/")
    assert service.file(made["output_path"]).read_bytes() == audio_of(made)


def test_flac_to_flac_of_24_bits(service: Api, uploads: dict[str, str]) -> None:
    made = edited(service, task="repaint", source=uploads["FLAC"], start=2, output_format="flac")
    own, _ = samples_of(service.file(uploads["FLAC"]).read_bytes(), "int32")
    result, sound = samples_of(audio_of(made), "int32")
    assert (sound.format, sound.subtype) == ("FLAC", "PCM_24") and np.array_equal(result[: 2 * RATE], own[: 2 * RATE])


@pytest.mark.parametrize("backend", ["ace_step", "musicgen"])
def test_extend_a_track_and_then_what_came_of_it(service: Api, backend: str) -> None:
    first = edited(service, duration_seconds=2, backend_override=backend)
    second = edited(service, task="extend", source=first["output_path"], after=1, backend_override=backend)
    third = edited(service, task="extend", source=second["output_path"], after=0.5, backend_override=backend)
    (one, sound), (two, _), (three, last) = (samples_of(audio_of(made)) for made in (first, second, third))
    rate = first["sample_rate"]
    assert (last.samplerate, last.channels) == (sound.samplerate, sound.channels)
    assert [len(one), len(two), len(three)] == [2 * rate, 3 * rate, round(3.5 * rate)]
    assert np.array_equal(two[: len(one)], one) and np.array_equal(three[: len(two)], two)
    assert np.abs(three[len(two) :]).max() > 0
    assert third["output_path"].startswith("/data/outputs/base/")


def test_extend_to_the_front(service: Api, uploads: dict[str, str]) -> None:
    made = edited(service, task="extend", source=uploads["PCM_16"], before=1.5)
    own, _ = samples_of(service.file(uploads["PCM_16"]).read_bytes())
    result, _ = samples_of(audio_of(made))
    assert len(result) == len(own) + round(1.5 * RATE) and np.array_equal(result[-len(own) :], own)


def test_extend_at_both_ends(service: Api, uploads: dict[str, str]) -> None:
    made = edited(service, task="extend", source=uploads["PCM_16"], before=0.5, after=1)
    own, _ = samples_of(service.file(uploads["PCM_16"]).read_bytes())
    result, _ = samples_of(audio_of(made))
    lead = RATE // 2
    assert len(result) == lead + len(own) + RATE and np.array_equal(result[lead : lead + len(own)], own)
    assert result[:lead].any() and result[lead + len(own) :].any()


def test_an_edit_starts_from_kept_latents(service: Api) -> None:
    first = edited(service, duration_seconds=2, keep_latents=True)
    latents = service.file(first["output_path"]).with_suffix(".safetensors")
    body: Json = {"task": "repaint", "source": first["output_path"], "start": 0.5, "end": 1.5}
    from_latents = edited(service, **body, keep_latents=True)
    assert service.file(from_latents["output_path"]).with_suffix(".safetensors").exists()
    latents.unlink()
    from_sound = edited(service, **body)
    assert not service.file(from_sound["output_path"]).with_suffix(".safetensors").exists()
    own, rate = samples_of(audio_of(first))[0], first["sample_rate"]
    one, two = (samples_of(audio_of(made))[0] for made in (from_latents, from_sound))
    outside = np.r_[: rate // 2, 3 * rate // 2 : 2 * rate]
    assert np.array_equal(one[outside], own[outside]) and np.array_equal(two[outside], own[outside])
    assert not np.array_equal(one, two)


def test_a_batch_of_tasks_is_as_each_of_them_alone(service: Api, uploads: dict[str, str]) -> None:
    source = uploads["PCM_16"]
    bodies: list[Json] = [
        {"task": "repaint", "source": source, "start": 1, "end": 2, "seed": 1},
        {"duration_seconds": 2, "seed": 2},
        {"task": "extend", "source": source, "after": 1, "seed": 3, "vocal_language": "ja", "lyrics": "la"},
        {"task": "cover", "source": source, "strength": 0.5, "seed": 4},
        {"duration_seconds": 1, "seed": 5, "reference": source},
    ]
    alone = [samples_of(audio_of(edited(service, **body)))[0].astype(int) for body in bodies]
    with ThreadPoolExecutor(len(bodies)) as pool:
        together = list(pool.map(lambda body: samples_of(audio_of(edited(service, **body)))[0].astype(int), bodies))
    for one, other in zip(alone, together, strict=True):
        assert one.shape == other.shape and np.abs(one - other).max() <= 1


def test_a_reference_changes_the_track(service: Api, uploads: dict[str, str]) -> None:
    body: Json = {"duration_seconds": 1}
    plain = audio_of(edited(service, **body))
    by_path = audio_of(edited(service, **body, reference=uploads["bob"]))
    of_producer = edited(service, **body, reference="producer:bob")
    assert not np.array_equal(samples_of(plain)[0], samples_of(by_path)[0])
    result, sound = samples_of(audio_of(of_producer))
    assert np.array_equal(result, samples_of(by_path)[0]) and f"reference={uploads['bob']}" in sound.comment


def test_a_form_has_the_files(service: Api, uploads: dict[str, str]) -> None:
    song = service.file(uploads["PCM_24"]).read_bytes()
    fields = {"prompt": "dark trap", "seed": "7", "task": "repaint", "start": "1", "end": "2"}
    files = {"source": ("song.wav", song), "reference": ("other.wav", beat(2))}
    answer = service.client.post("/generate/form", data=fields, files=files, headers={"accept": "audio/wav"} | AS_ADA)
    assert answer.status_code == 200, answer.text
    (result, sound), (own, _) = samples_of(answer.content, "int32"), samples_of(song, "int32")
    assert sound.subtype == "PCM_24" and np.array_equal(result[:RATE], own[:RATE])
    assert "source=sha256:" in sound.comment and answer.headers["x-output-path"].startswith("/data/outputs/base/")
    by_path = service.client.post(
        "/generate/form", files={"x": (None, "")}, data=fields | {"source": uploads["PCM_24"]}
    )
    assert np.array_equal(samples_of(audio_of(checked(by_path)), "int32")[0][:RATE], own[:RATE])


def test_backends_tell_their_tasks(service: Api) -> None:
    rows = {row["name"]: row for row in service.get("/backends")["backends"]}
    assert {"text", "repaint", "extend"} <= set(rows["ace_step"]["tasks"]) and rows["ace_step"]["takes_reference"]
    assert rows["musicgen"]["tasks"] == ["text", "extend"] and not rows["musicgen"]["takes_reference"]


PCM = "{PCM_16}"
REFUSED: list[tuple[Json, int, tuple[str, ...]]] = [
    ({"task": "repaint", "start": 1}, 400, ("source", "missing", "/generate/form")),
    ({"task": "repaint", "source": "song.wav", "start": 1}, 400, ("source", "/data/")),
    ({"task": "repaint", "source": "/data/uploads/ada/../bob/song.wav", "start": 1}, 400, ("source",)),
    ({"task": "repaint", "source": "/data/uploads/ada/none/a.wav", "start": 1}, 404, ("source",)),
    ({"task": "repaint", "source": "/data/outputs/base/none.wav", "start": 1}, 404, ("source",)),
    ({"task": "repaint", "source": "/data/jobs/x.json", "start": 1}, 404, ("source",)),
    ({"task": "repaint", "source": PCM}, 400, ("start, end",)),
    ({"task": "repaint", "source": PCM, "start": 2, "end": 2}, 400, ("end", "start")),
    ({"task": "repaint", "source": PCM, "start": 3}, 400, ("start", "3 s")),
    ({"task": "repaint", "source": PCM, "start": 1, "end": 4}, 400, ("end", "extend")),
    ({"task": "repaint", "source": PCM, "start": 1, "duration_seconds": 3}, 400, ("duration_seconds",)),
    ({"task": "extend", "source": PCM}, 400, ("before, after",)),
    ({"task": "extend", "source": PCM, "after": 7}, 400, ("source", "longer than the 1 s")),
    ({"task": "extend", "source": PCM, "after": 9}, 400, ("after", "8 s")),
    ({"task": "extend", "source": PCM, "before": 1, "backend_override": "musicgen"}, 400, ("before", "musicgen")),
    ({"task": "repaint", "source": PCM, "start": 1, "backend_override": "musicgen"}, 409, ("task", "ace_step")),
    ({"task": "melody", "source": PCM}, 409, ("task", "facebook/musicgen-melody")),
    ({"reference": PCM, "backend_override": "musicgen"}, 409, ("reference", "ace_step")),
    ({"reference": "producer:nobody"}, 404, ("reference", "nobody")),
    ({"reference": "producer:../x"}, 404, ("reference",)),
    ({"source": PCM}, 400, ("source", "repaint")),
    ({"vocal_language": "English"}, 400, ("vocal_language", "ISO 639")),
    ({"keep_latents": True, "output_format": "mp3"}, 400, ("keep_latents", "wav or flac")),
    ({"keep_latents": True, "backend_override": "musicgen"}, 409, ("keep_latents", "musicgen")),
]


@pytest.mark.parametrize(("body", "status", "names"), REFUSED, ids=lambda value: str(value)[:60])
def test_refusals_store_nothing(
    service: Api, uploads: dict[str, str], body: Json, status: int, names: tuple[str, ...]
) -> None:
    body = {name: value.format(**uploads) if isinstance(value, str) else value for name, value in body.items()}
    before = service.stored()
    error = error_of(service.client.post("/generate", json={"prompt": "trap"} | body), status)
    assert all(name in error for name in names), error
    assert service.stored() == before


@pytest.mark.parametrize(
    ("files", "status", "names"),
    [
        ({"source": b"no sound"}, 400, ("source",)),
        ({"source": b""}, 400, ("source", "empty")),
        ({"source": written(chord(1, channels=6))}, 400, ("source", "6 channels")),
        ({"source": written(chord(0.05))}, 400, ("source", "0.1 s")),
        ({"source": written(chord(9, 8_000, 1), 8_000)}, 400, ("source", "8 s")),
        ({"reference": written(chord(2))}, 400, ("source", "missing")),
        ({"file": written(chord(2))}, 400, ("file", "`source` or `reference`")),
    ],
    ids=str,
)
def test_files_that_cannot_be_used(service: Api, files: dict[str, bytes], status: int, names: tuple[str, ...]) -> None:
    before = service.stored()
    sent = {name: (f"{name}.wav", data) for name, data in files.items()}
    fields = {"prompt": "trap", "task": "repaint", "start": "0.2"}
    error = error_of(service.client.post("/generate/form", data=fields, files=sent), status)
    assert all(name in error for name in names), error
    assert service.stored() == before


def test_anothers_recordings_are_not_there(service: Api, uploads: dict[str, str]) -> None:
    """A key to generate for one producer has no other's tracks, and no upload in its own sound."""
    ours = edited(service, task="repaint", source=uploads["PCM_16"], start=1)["output_path"]
    theirs = edited(service, task="repaint", source=uploads["bob"], start=1)["output_path"]

    def ask(**body: Any) -> httpx.Response:
        body = {"prompt": "trap", "response": "url", "seed": 1} | body
        return service.client.post("/generate", json=body, headers=AS_ADA)

    checked(ask(task="extend", after=0.5, source=ours))
    checked(ask(duration_seconds=1, reference=uploads["PCM_16"]))
    before = service.stored()
    for path in (theirs, uploads["bob"]):
        assert "does not exist" in error_of(ask(task="extend", after=0.5, source=path), 404)
        assert "does not exist" in error_of(ask(duration_seconds=1, reference=path), 404)
    assert "reference" in error_of(ask(duration_seconds=1, reference="producer:bob"), 404)
    assert "/generate/form" in error_of(ask(task="extend", after=0.5, source=uploads["PCM_16"]), 403)
    assert service.stored() == before
