"""Refusals by an operator's settings: password, sizes, duration, licences."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.api import Api, as_base64, beat, command_of, error_of
from tests.conftest import PASSWORD
from tests.integration.refusals.cases import GENERATE, POSTS, TRAIN, Case

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
