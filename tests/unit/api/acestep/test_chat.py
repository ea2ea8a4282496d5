"""Answers of a chat: whole and as a stream, with errors, comments, and files that are removed."""

from __future__ import annotations

import asyncio
import base64
import gc
import json
import tempfile
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.datastructures import Headers
from starlette.responses import StreamingResponse

from api.acestep import chat
from api.acestep.fields import Body
from api.routes.handler import Inputs
from contract import GenerateRequest
from core.errors import Refusal
from generation.editing.recordings import Sent
from generation.generated import Generated

SONG = {"type": "input_audio", "input_audio": {"data": base64.b64encode(b"RIFF").decode()}}
CONTENT = [{"type": "text", "text": "dark trap"}, SONG]


class Maker:
    """Stands in for the front service: makes tracks when `go` is set."""

    def __init__(self) -> None:
        self.settings = SimpleNamespace(music_backend="ace_step")
        self.runners = self
        self.generation = self
        self.go = asyncio.Event()
        self.error: Exception | None = None
        self.heard: list[bytes] = []

    async def describe(self) -> list[Any]:
        return [SimpleNamespace(name="ace_step", checkpoint="turbo")]

    async def generate(self, request: GenerateRequest, as_base64: bool, sent: Sent) -> Generated:
        await self.go.wait()
        if self.error:
            raise self.error
        assert as_base64 and sent.reference
        self.heard.append(sent.reference.read())
        return Generated(b"ID3", "audio/mpeg", "ace_step", request.seed or 0, 48_000, 2.0, "outputs/base/x.mp3")


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


async def asked(front: Any, **body: Any) -> Any:
    document = Body({"messages": [{"role": "user", "content": CONTENT}], "bpm": 140, "thinking": True} | body)
    return await chat.chat_completions(front, Inputs({}, {}, Headers(), document))


async def events(answer: StreamingResponse) -> list[str]:
    return [bytes(chunk).decode() async for chunk in answer.body_iterator]  # type: ignore[arg-type]


def test_a_whole_answer(temporary: Path) -> None:
    async def run() -> None:
        front = Maker()
        front.go.set()
        document = json.loads((await asked(front, batch_size=2)).body)
        message = document["choices"][0]["message"]
        assert message["content"] == "## Metadata\n**Caption:** dark trap\n**BPM:** 140\n**Duration:** 2s"
        assert [part["audio_url"]["url"] for part in message["audio"]] == ["data:audio/mpeg;base64,SUQz"] * 2
        assert (document["model"], document["usage"]["total_tokens"]) == ("turbo", 0)
        assert document["extra"]["ignored"].keys() == {"thinking"} and front.heard == [b"RIFF", b"RIFF"]

    asyncio.run(run())
    assert not list(temporary.iterdir())


def test_a_stream_says_that_it_lives(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat, "_COMMENT_SECONDS", 0.01)

    async def run() -> None:
        front = Maker()
        asyncio.get_running_loop().call_later(0.1, front.go.set)
        first, *middle, content, audio, last, end = await events(await asked(front, stream=True))
        assert '"role": "assistant"' in first and middle and all(each.startswith(": ") for each in middle)
        assert "Metadata" in content and "data:audio/mpeg;base64,SUQz" in audio
        assert '"finish_reason": "stop"' in last and "thinking" in last and end == "data: [DONE]\n\n"

    asyncio.run(run())
    assert not list(temporary.iterdir())


def test_errors(temporary: Path) -> None:
    async def run() -> None:
        front = Maker()
        front.go.set()
        front.error = Refusal(503, "the queue is full", 7)
        with pytest.raises(Refusal) as refused:
            await asked(front, batch_size=2)
        assert (refused.value.status, refused.value.wait) == (503, 7)
        front.error = Refusal(404, "source: it does not exist")
        *_, last, end = await events(await asked(front, stream=True))
        chunk = json.loads(last.removeprefix("data: "))
        assert chunk["error"] == {"code": 404, "message": "src_audio_path: it does not exist"}
        assert chunk["choices"][0]["finish_reason"] == "error" and end == "data: [DONE]\n\n"

    asyncio.run(run())
    assert not list(temporary.iterdir())


def test_a_client_that_goes_away_stops_the_work(temporary: Path) -> None:
    async def run() -> None:
        front = Maker()
        stream = (await asked(front, stream=True)).body_iterator
        await anext(stream)
        await asyncio.sleep(0.01)
        assert list(temporary.iterdir())
        await stream.aclose()
        await asyncio.sleep(0.05)
        assert not front.heard and len(asyncio.all_tasks()) == 1

    asyncio.run(run())
    assert not list(temporary.iterdir())


def test_a_stream_that_is_never_sent_leaves_no_files(temporary: Path) -> None:
    async def run() -> None:
        answer = await asked(Maker(), stream=True)
        assert list(temporary.iterdir())
        del answer
        gc.collect()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        asyncio.run(run())
    assert not list(temporary.iterdir())


def test_a_batch_that_is_too_large_for_an_answer(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat, "MAX_AUDIO_BASE64", 7)

    async def run() -> None:
        front = Maker()
        front.go.set()
        await asked(front)  # 4 characters
        with pytest.raises(Refusal) as refused:
            await asked(front, batch_size=2)
        assert refused.value.status == 413 and refused.value.message.startswith("batch_size: 2 tracks")

    asyncio.run(run())
