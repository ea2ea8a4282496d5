"""Files that take much memory or time: the front answers, stays small, and stops when the client has left."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from urllib.parse import quote, urlsplit

import httpx
import psutil
import pytest

from tests import bombs
from tests.api import ACE_STEP_ONLY, Api, as_base64, beat, command_of, error_of, peak, running, wait_until

# Bytes that the front may grow by for any file.
MAX_GROWTH = 150 * 2**20


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory, tiny: dict[str, str]) -> Iterator[Api]:
    """A service for these tests alone, so that its peak memory is theirs."""
    with running(tmp_path_factory.mktemp("hostile"), tiny | ACE_STEP_ONLY, backends=("ace_step",)) as service:
        service.upload("warm", beat(2))
        yield service


def analysed(api: Api, path: str) -> float:
    """The duration of an upload in seconds, as the service analyses it."""
    answer = api.client.get("/uploads/analysis", params={"path": path})
    assert answer.status_code == 200, answer.text
    seconds: float = answer.json()["seconds"]
    return seconds


# A process that has answered, or was killed, ends within this time on a busy machine.
END_SECONDS = 20.0


def parsing(api: Api) -> list[psutil.Process]:
    """The sandbox processes that are reading a file now."""
    templates = {process.pid for process in api.children() if "core.sandbox.child:serve" in command_of(process)}
    return [process for process in api.children() if process.ppid() in templates]


@pytest.mark.parametrize("name", bombs.AUDIO)
def test_audio_that_explodes_harms_nobody(api: Api, name: str) -> None:
    front, data = api.process("ProducerTwin"), bombs.AUDIO[name]()
    before = peak(front)
    answers = []

    def send() -> None:
        answers.append(api.client.post("/uploads", data={"producer_id": "bomber"}, files={"file": ("b.wav", data)}))
        body = {"producer_id": "bomber", "content_base64": as_base64(data)}
        answers.append(api.client.post("/store-upload", json=body))

    senders = [threading.Thread(target=send) for _ in range(4)]
    for sender in senders:
        sender.start()
    assert api.client.get("/jobs").status_code == 200
    assert api.client.get("/livez").status_code == 200
    for sender in senders:
        sender.join()
    assert len(answers) == 8
    for answer in answers:
        if answer.status_code != 200:
            assert error_of(answer, 400).startswith(("file: ", "content_base64: "))
    assert peak(front) - before < MAX_GROWTH
    wait_until(lambda: not parsing(api), patience=END_SECONDS)


def test_a_client_that_leaves_ends_its_analysis(api: Api) -> None:
    path = api.upload("patient", bombs.silent_flac(120))
    with pytest.raises(httpx.ReadTimeout):
        api.client.get("/uploads/analysis", params={"path": path}, timeout=3)
    wait_until(lambda: not parsing(api), 20)
    assert analysed(api, api.upload("patient", beat(5))) == pytest.approx(5)


def test_a_song_does_not_wait_behind_hours_of_silence(api: Api) -> None:
    hours = api.upload("slow", bombs.silent_flac(120))
    song = api.upload("quick", beat(5))
    analysed(api, song)
    address = urlsplit(api.server.url)
    with socket.create_connection((address.hostname, address.port)) as patient:
        patient.sendall(f"GET /uploads/analysis?path={quote(hours)} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        wait_until(lambda: parsing(api), 30)
        assert analysed(api, song) == pytest.approx(5)
        assert parsing(api)
    wait_until(lambda: not parsing(api), 20)


def test_converting_ends_with_its_client(api: Api) -> None:
    made = api.post("/generate", prompt="dark trap", duration_seconds=30, seed=1, lora_scale=1)
    with pytest.raises(httpx.ReadTimeout):
        api.client.get(made["output_path"], params={"format": "opus"}, timeout=0.02)
    wait_until(lambda: not parsing(api), 20)
    assert api.client.get(made["output_path"], params={"format": "opus"}).headers["content-type"] == "audio/ogg"
