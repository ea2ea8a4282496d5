"""Uploads over real HTTP: stored byte for byte, with a path in the answer."""

from __future__ import annotations

import pytest

from tests.api import Api, as_base64, beat, checked, error_of
from tests.sounds import chord, written


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
