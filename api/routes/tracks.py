"""Tracks: `POST /generate`, queue positions, and the stored files."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Sequence
from typing import Any, cast

from pydantic import BaseModel
from starlette.responses import Response

from api.routes import outputs
from api.routes.audio_stream import AudioStream
from api.routes.examples import GENERATED, TWIN
from api.routes.forms import on_disk
from api.routes.handler import Front, Inputs
from api.routes.negotiation import audio_format
from api.routes.route import ANY_SCOPE, GENERATE, REQUEST_ID_PATTERN, TWIN_LINK, Parameter, Route
from contract import (
    FORMATS,
    GenerateAnswer,
    GenerateForm,
    GenerateLinkAnswer,
    GenerateRequest,
    OutputFormat,
    QueueAnswer,
    Take,
    TakesAnswer,
)
from core.errors import Refusal
from generation.editing.recordings import NOTHING_SENT, Sent
from generation.encode import MEDIA_TYPES
from generation.generated import Generated
from generation.streaming.track import TrackHead

AUDIO = tuple(MEDIA_TYPES.values())
_REQUEST_ID = Parameter(
    "x-request-id",
    "An id that the client chooses, such as a UUID, for /queue/{request_id}.",
    {"type": "string", "pattern": REQUEST_ID_PATTERN},
    location="header",
)


async def generate(
    front: Front, request: GenerateRequest, accept: str, sent: Sent = NOTHING_SENT
) -> GenerateAnswer | Response:
    """Make a track and answer it as the client wants it: as JSON with base64, as a link, or as the audio itself.

    Several takes are answered as links. With `stream` the audio is sent while it is made.

    Args:
        accept: the `Accept` header.
        sent: the files that came with the request.

    Raises:
        Refusal: 400, 403, 404, 409, 413, 429, 503, 507.
    """
    as_link = request.response == "url" or request.takes > 1
    named = request.output_format if "output_format" in request.model_fields_set else None
    raw = None if request.response == "url" else audio_format(accept, named)
    if request.takes > 1:
        _check_answer_holds_takes(request, raw)
    if raw:
        request = request.model_copy(update={"output_format": raw})
    if request.stream:
        return await _stream(front, request, raw, sent)
    made = await front.generation.generate_takes(request, as_base64=not as_link and raw is None, sent=sent)
    track = made[0]
    if raw:
        return Response(track.file, media_type=track.media_type, headers=_headers(track) | _measured(track))
    if request.takes > 1:
        return _json(_takes_answer(front, made))
    fields: dict[str, Any] = {
        "backend": track.backend,
        "seed": track.seed,
        "sample_rate": track.sample_rate,
        "duration_seconds": track.seconds,
        "output_path": track.path,
        "lora_scale": track.lora_scale,
    }
    if request.measures:
        fields |= {"figures": track.figures, "draws": track.draws, "accepted": track.accepted}
    if as_link:
        return _json(GenerateLinkAnswer(url=_url(front, track), **fields))
    encoded = await asyncio.to_thread(base64.b64encode, track.file)
    return _json(GenerateAnswer(audio_base64=encoded.decode(), **fields))


async def _stream(front: Front, request: GenerateRequest, raw: OutputFormat | None, sent: Sent) -> Response:
    if raw is None:
        raise Refusal(400, "stream: the answer would be JSON; send the header Accept: audio/wav, or leave it out")
    track = await front.generation.stream(request, sent)
    headers = _headers(track.head) | {"x-track-id": track.head.track_id}
    return AudioStream(track.chunks, track.head.media_type, headers)


def _check_answer_holds_takes(request: GenerateRequest, raw: OutputFormat | None) -> None:
    """Raises Refusal (400) if the answer that the client wants holds one track only."""
    if raw:
        raise Refusal(400, "takes: an audio file holds one track; accept application/json, or send best_of")
    if request.response == "base64" and "response" in request.model_fields_set:
        raise Refusal(400, "response: several takes are answered as links; send url, or leave it out")


def _takes_answer(front: Front, made: Sequence[Generated]) -> TakesAnswer:
    first = made[0]
    return TakesAnswer(
        backend=first.backend,
        sample_rate=first.sample_rate,
        duration_seconds=first.seconds,
        lora_scale=first.lora_scale,
        draws=first.draws,
        failed=list(first.failed),
        takes=[
            Take(
                seed=track.seed,
                url=_url(front, track),
                output_path=track.path,
                figures=track.figures,
                accepted=track.accepted,
            )
            for track in made
        ],
    )


def _headers(track: Generated | TrackHead) -> dict[str, str]:
    """The headers of an answer that is the audio itself."""
    headers = {"x-backend": track.backend, "x-seed": str(track.seed), "x-output-path": track.path}
    if track.lora_scale is not None:
        headers["x-lora-scale"] = f"{track.lora_scale:g}"
    return headers


def _measured(track: Generated) -> dict[str, str]:
    """The headers with the figures of a track that was measured."""
    headers = {}
    if track.figures:
        headers["x-figures"] = track.figures.model_dump_json()
    if track.accepted is not None:
        headers["x-accepted"] = json.dumps(track.accepted)
    return headers


def _url(front: Front, track: Generated) -> str:
    return outputs.link(track.key, front.storage, front.outbox, front.settings)


def _json(answer: BaseModel) -> Response:
    """The answer without the fields that were not set."""
    return Response(answer.model_dump_json(exclude_unset=True), media_type="application/json")


async def generate_from_form(front: Front, inputs: Inputs[GenerateForm]) -> GenerateAnswer | Response:
    """`generate` with the source or the reference in the request."""
    accept = ", ".join(inputs.headers.getlist("accept"))
    return await generate(front, inputs.body, accept, sent_files(inputs))


def sent_files(inputs: Inputs[Any]) -> Sent:
    """The recordings of a form. Raises Refusal (400) for two of one field."""
    files = {}
    for name, found in inputs.files.items():
        if len(found) > 1:
            raise Refusal(400, f"{name}: send one file a request")
        files[name] = on_disk(found[0]) if found else None
    return Sent(**files)


async def queue_position(front: Front, inputs: Inputs[None]) -> QueueAnswer:
    return await front.generation.queue_positions.find(inputs.path["request_id"])


async def stored_track(front: Front, inputs: Inputs[None]) -> Response:
    key = f"outputs/{inputs.path['path']}"
    wanted = inputs.query.get("format")
    if wanted is None:
        return await outputs.serve(key, front.storage, front.outbox, front.settings)
    return await outputs.convert(key, cast("OutputFormat", wanted), front.storage, front.outbox)


ROUTES = (
    Route(
        "POST",
        "/generate",
        "artists",
        "Make a track; as JSON, or as the audio itself where Accept asks for audio",
        GENERATE,
        body=GenerateRequest,
        body_example={"prompt": "808 trap beat, dark synth", "lora_id": TWIN, "duration_seconds": 30, "seed": 7},
        parameters=(_REQUEST_ID, TWIN_LINK),
        answer=(GenerateAnswer, GenerateLinkAnswer, TakesAnswer),
        answer_example={"audio_base64": "UklGRi4AAABXQVZFZm10…"} | GENERATED,
        files=AUDIO,
        errors=(404, 409, 507),
        cancelled_on_disconnect=True,
        web_app=True,
        makes=True,
    ),
    Route(
        "POST",
        "/generate/form",
        "artists",
        "Make a track from a recording in the request: as /generate, sent as a form",
        GENERATE,
        generate_from_form,
        form=GenerateForm,
        form_files=("source", "reference"),
        form_files_required=False,
        parameters=(_REQUEST_ID, TWIN_LINK),
        answer=(GenerateAnswer, GenerateLinkAnswer, TakesAnswer),
        answer_example={"audio_base64": "UklGRi4AAABXQVZFZm10…"} | GENERATED,
        files=AUDIO,
        errors=(404, 409, 507),
        cancelled_on_disconnect=True,
        makes=True,
    ),
    Route(
        "GET",
        "/queue/{request_id}",
        "artists",
        "The queue position of a track: how many are ahead, progress, and seconds left",
        GENERATE,
        queue_position,
        answer=(QueueAnswer,),
        answer_example={
            "request_id": "6f1c2d0e-6a35-4f0a-9a51-0f4f7f9f3a57",
            "backend": "ace_step",
            "state": "waiting",
            "ahead": 2,
            "progress": 0.0,
            "seconds_left": 31.5,
        },
        stream=True,
    ),
    Route(
        "GET",
        "/data/outputs/{path}",
        "artists",
        "A stored track, with ranges; on S3 a redirect (307) to the bucket",
        ANY_SCOPE,
        stored_track,
        parameters=(
            Parameter(
                "format",
                "Convert a track stored as WAV or FLAC to this format.",
                {"type": "string", "enum": list(FORMATS)},
            ),
        ),
        allows_other_query=True,
        files=AUDIO,
        cancelled_on_disconnect=True,
        stream=True,
        web_app=True,
    ),
)
