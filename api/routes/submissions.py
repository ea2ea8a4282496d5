"""Tracks that are made after the answer to their request: submit and follow them."""

from __future__ import annotations

from starlette.responses import Response

from api.capacity.thread_pools import to_record_thread
from api.routes import library, outputs
from api.routes.audio_stream import AudioStream
from api.routes.event_stream import stream_of
from api.routes.examples import SUBMITTED, TWIN
from api.routes.handler import Front, Inputs
from api.routes.route import GENERATE, TWIN_LINK, Route
from api.routes.tracks import AUDIO, sent_files
from contract import ENDED, SubmitForm, SubmitRequest, SubmittedTrackAnswer, TrackAnswer
from generation.encode import LOSSY, MEDIA_TYPES
from generation.streaming.live_audio import LIVE_FORMAT
from storage import keys


async def submit(front: Front, inputs: Inputs[SubmitRequest]) -> SubmittedTrackAnswer:
    return (await front.submissions.submit(inputs.body)).answer()


async def submit_form(front: Front, inputs: Inputs[SubmitForm]) -> SubmittedTrackAnswer:
    """`submit` with the source or the reference in the request."""
    return (await front.submissions.submit(inputs.body, sent_files(inputs))).answer()


async def events(front: Front, inputs: Inputs[None]) -> Response:
    """Server-sent events: the track's progress, now and whenever it changes, until it is made or was not made."""

    async def read() -> SubmittedTrackAnswer:
        return _as_submitted(await library.inspect(front, inputs))

    return stream_of(await read(), read, lambda track: track.state in ENDED, inputs.headers)


async def listen(front: Front, inputs: Inputs[None]) -> Response:
    """The audio of a track while it is made; of a finished one the whole file."""
    track_id, find = inputs.path["track_id"], front.generation.track_library.find
    if chunks := await front.submissions.listen(track_id):
        return AudioStream(chunks, MEDIA_TYPES[LIVE_FORMAT], {})
    record = await to_record_thread(find, track_id)
    key = keys.from_path(record.output_path)
    if record.output_format in LOSSY:
        return await outputs.serve(key, front.storage, front.outbox, front.settings)
    return await outputs.convert(key, LIVE_FORMAT, front.storage, front.outbox)


def _as_submitted(answer: TrackAnswer | SubmittedTrackAnswer) -> SubmittedTrackAnswer:
    """A track of the library as one that is done."""
    if isinstance(answer, SubmittedTrackAnswer):
        return answer
    created_at, track_id = answer.created_at, answer.track_id
    return SubmittedTrackAnswer(track_id=track_id, state="done", created_at=created_at, track=answer)


ROUTES = (
    Route(
        "POST",
        "/generate/submit",
        "artists",
        "Make a track; answers at once with its id",
        GENERATE,
        submit,
        body=SubmitRequest,
        body_example={"prompt": "808 trap beat, dark synth", "lora_id": TWIN, "duration_seconds": 30, "seed": 7},
        parameters=(TWIN_LINK,),
        answer=(SubmittedTrackAnswer,),
        answer_example=SUBMITTED,
        errors=(404, 409, 507),
        web_app=True,
        makes=True,
    ),
    Route(
        "POST",
        "/generate/form/submit",
        "artists",
        "Make a track from a recording in the request: as /generate/submit, sent as a form",
        GENERATE,
        submit_form,
        form=SubmitForm,
        form_files=("source", "reference"),
        form_files_required=False,
        parameters=(TWIN_LINK,),
        answer=(SubmittedTrackAnswer,),
        answer_example=SUBMITTED,
        errors=(404, 409, 507),
        web_app=True,
        makes=True,
    ),
    Route(
        "GET",
        "/tracks/{track_id}/stream",
        "artists",
        "Listen from the start to a track that is made, of those submitted with stream; to a finished one as a whole",
        GENERATE,
        listen,
        files=AUDIO,
        errors=(409,),
        cancelled_on_disconnect=True,
        stream=True,
        web_app=True,
    ),
    Route(
        "GET",
        "/tracks/{track_id}/events",
        "artists",
        "Follow a submitted track: its place in the queue and progress whenever they change, as server-sent events",
        GENERATE,
        events,
        files=("text/event-stream",),
        stream=True,
        web_app=True,
    ),
)
