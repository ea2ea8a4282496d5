"""`POST /v1/chat/completions`, ACE-Step's API for chat programs: the message that is answered has the audio."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.responses import JSONResponse, Response, StreamingResponse

from api.acestep.chat_request import chat_request
from api.acestep.fields import Body
from api.acestep.files import TaskFiles, kept
from api.acestep.served import served_models
from api.acestep.translation import Translation, in_their_words, translate
from api.routes.handler import Front, Inputs
from contract import MAX_AUDIO_BASE64, GenerateRequest
from core import logs
from core.asgi.responses import LIVE_HEADERS
from core.errors import Refusal
from generation.generated import Generated

# A comment goes out so often while a track is made: proxies close connections on which nothing comes.
_COMMENT_SECONDS = 10.0
_NO_TOKENS = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
_END = b"data: [DONE]\n\n"


async def chat_completions(front: Front, inputs: Inputs[Body]) -> Response:
    """Make tracks from the last message, and answer them as audio in a message."""
    request = chat_request(inputs.body.root)
    served = await served_models(front)
    task = translate(request.fields, served.names, request.recordings.keys())
    completion = _Completion(served.name_of(task.takes[0]), task)
    files = await asyncio.to_thread(kept, {name: io.BytesIO(data) for name, data in request.recordings.items()})
    if request.stream:
        events = _events(front, completion, files)
        return StreamingResponse(events, media_type="text/event-stream", headers=LIVE_HEADERS)
    return JSONResponse(completion.whole(await _message(front, task, files)))


@dataclass(frozen=True)
class _Completion:
    """An answer, whole or in chunks.

    Attributes:
        model: the name of the checkpoint.
        task: its fields without effect are told.
    """

    model: str
    task: Translation
    id: str = field(default_factory=lambda: f"chatcmpl-{uuid.uuid4().hex}")
    created: int = field(default_factory=lambda: int(time.time()))

    def whole(self, message: Mapping[str, Any]) -> dict[str, Any]:
        choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": "stop"}
        return self._document("chat.completion", choice) | {"usage": _NO_TOKENS} | self._extra()

    def chunk(self, delta: Mapping[str, Any], finish_reason: str | None = None, **more: Any) -> bytes:
        """A server-sent event."""
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        document = self._document("chat.completion.chunk", choice) | more
        if finish_reason:
            document |= self._extra()
        return f"data: {json.dumps(document, ensure_ascii=False)}\n\n".encode()

    def _document(self, kind: str, choice: Mapping[str, Any]) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model, "choices": [choice]}

    def _extra(self) -> dict[str, Any]:
        return {"extra": {"ignored": self.task.ignored}} if self.task.ignored else {}


async def _events(front: Front, completion: _Completion, files: TaskFiles) -> AsyncIterator[bytes]:
    """The completion as it comes about. An error after the beginning is an event too."""
    making = asyncio.ensure_future(_message(front, completion.task, files))
    try:
        yield completion.chunk({"role": "assistant", "content": ""})
        while not (await asyncio.wait((making,), timeout=_COMMENT_SECONDS))[0]:
            yield b": the track is being made\n\n"
        try:
            message = making.result()
        except Refusal as refusal:
            error = {"code": refusal.status, "message": in_their_words(refusal.message)}
            yield completion.chunk({"content": f"Error: {error['message']}"}, "error", error=error)
        else:
            yield completion.chunk({"content": message["content"]})
            yield completion.chunk({"audio": message["audio"]})
            yield completion.chunk({}, "stop")
        yield _END
    finally:
        making.cancel()


async def _message(front: Front, task: Translation, files: TaskFiles) -> dict[str, Any]:
    """Make the tracks. Raises Refusal, as `generate` does."""
    try:
        async with asyncio.TaskGroup() as group:
            made = [group.create_task(_made(front, take, files, number)) for number, take in enumerate(task.takes)]
    except ExceptionGroup as errors:
        raise _first(errors) from None
    finally:
        files.remove()
    tracks = [each.result() for each in made]
    if sum(len(track.file) for track in tracks) * 4 / 3 > MAX_AUDIO_BASE64:
        most = MAX_AUDIO_BASE64 // 2**20
        raise Refusal(413, f"batch_size: {len(tracks)} tracks are over {most} MB as base64; send a smaller one, or mp3")
    urls = await asyncio.to_thread(lambda: [_data_url(track) for track in tracks])
    audio = [{"type": "audio_url", "audio_url": {"url": url}} for url in urls]
    return {"content": _content(task.takes[0], tracks[0].seconds), "audio": audio}


async def _made(front: Front, take: GenerateRequest, files: TaskFiles, number: int) -> Generated:
    """A track; the first has the request's own id in the queue."""
    request_id = logs.request_id()
    with logs.request(f"{request_id}-{number}" if number else request_id), files.opened() as sent:
        return await front.generation.generate(take, as_base64=True, sent=sent)


def _first(errors: ExceptionGroup) -> Exception:
    error = errors.exceptions[0]
    if isinstance(error, Refusal):
        return Refusal(error.status, in_their_words(error.message), error.wait)
    return error


def _data_url(track: Generated) -> str:
    return f"data:{track.media_type};base64,{base64.b64encode(track.file).decode()}"


def _content(take: GenerateRequest, seconds: float) -> str:
    """What was made, as ACE-Step words it."""
    facts = {
        "Caption": take.prompt,
        "BPM": take.bpm,
        "Duration": f"{seconds:g}s",
        "Key": take.key,
        "Time Signature": take.time_signature,
    }
    lines = ["## Metadata", *(f"**{name}:** {value}" for name, value in facts.items() if value)]
    if take.lyrics and take.lyrics.strip("[] \n").lower() not in ("inst", "instrumental"):
        lines += ["", "## Lyrics", take.lyrics]
    return "\n".join(lines)
