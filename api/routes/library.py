"""The library of tracks: list, inspect, rename, like and delete them, and draw their waveforms."""

from __future__ import annotations

import asyncio
import re

from api.capacity.thread_pools import to_record_thread
from api.routes.examples import TRACK
from api.routes.handler import Front, Inputs
from api.routes.route import GENERATE, OF_PRODUCER, Parameter, Route
from contract import PeaksAnswer, SubmittedTrackAnswer, TrackAnswer, TrackChanges, TrackDeletedAnswer, TracksAnswer
from core.errors import Refusal
from core.text import shown
from generation.track_library import MAX_PAGE, TrackFilter
from storage import keys

DEFAULT_PAGE = 50
_CURSOR = re.compile(r"[A-Za-z0-9._~-]{1,255}")
_LIMIT = re.compile(r"\d{1,3}")


async def list_all(front: Front, inputs: Inputs[None]) -> TracksAnswer:
    query = inputs.query
    wanted = TrackFilter(
        lora_id=query.get("lora_id"),
        producer_id=query.get("producer_id"),
        text=query.get("text"),
        parent=query.get("parent"),
        liked=True if "liked" in query else None,
    )
    cursor, limit = query.get("cursor"), _limit(query.get("limit"))
    if cursor is not None and not _CURSOR.fullmatch(cursor):
        raise Refusal(400, f"cursor: {shown(cursor)} is not a cursor; send the next_cursor of the page before")
    # A page with a filter may read a thousand records, for which others must not wait.
    found, next_cursor = await asyncio.to_thread(front.generation.track_library.page, wanted, cursor, limit)
    return TracksAnswer(tracks=[record.answer() for record in found], next_cursor=next_cursor)


async def inspect(front: Front, inputs: Inputs[None]) -> TrackAnswer | SubmittedTrackAnswer:
    track_id, find = inputs.path["track_id"], front.generation.track_library.find
    try:
        return (await to_record_thread(find, track_id)).answer()
    except Refusal as refusal:
        if refusal.status != 404:
            raise
    if submitted := await front.submissions.find(track_id):
        return submitted
    return (await to_record_thread(find, track_id)).answer()  # it may have been made between the two reads


async def change(front: Front, inputs: Inputs[TrackChanges]) -> TrackAnswer:
    library = front.generation.track_library
    return (await to_record_thread(library.change, inputs.path["track_id"], inputs.body)).answer()


async def delete(front: Front, inputs: Inputs[None]) -> TrackDeletedAnswer:
    track_id = inputs.path["track_id"]
    deleted = await front.submissions.cancel(track_id)
    if deleted is None:
        deleted = await asyncio.to_thread(front.generation.track_library.delete, track_id)
    return TrackDeletedAnswer(track_id=track_id, deleted=[keys.to_path(key) for key in deleted])


async def peaks(front: Front, inputs: Inputs[None]) -> PeaksAnswer:
    record = await to_record_thread(front.generation.track_library.find, inputs.path["track_id"])
    return PeaksAnswer(track_id=record.track_id, duration_seconds=record.duration_seconds, peaks=record.peaks())


def _limit(sent: str | None) -> int:
    if sent is None:
        return DEFAULT_PAGE
    if not _LIMIT.fullmatch(sent) or not 1 <= int(sent) <= MAX_PAGE:
        raise Refusal(400, f"limit: {shown(sent)} is not a number from 1 to {MAX_PAGE}")
    return int(sent)


ROUTES = (
    Route(
        "GET",
        "/tracks",
        "artists",
        "List the tracks, the newest first, by pages",
        GENERATE,
        list_all,
        parameters=(
            OF_PRODUCER,
            Parameter("lora_id", "List tracks with this twin only, or with its version after an @."),
            Parameter("text", "List tracks with all of these words in the title, the prompt or the lyrics only."),
            Parameter("parent", "List the edits of this track only."),
            Parameter("liked", "List tracks that are liked only.", {"type": "string", "enum": ["true"]}),
            Parameter("cursor", "The next_cursor of the page before."),
            Parameter(
                "limit",
                f"Tracks a page at most; {DEFAULT_PAGE} if left out.",
                {"type": "integer", "minimum": 1, "maximum": MAX_PAGE},
            ),
        ),
        answer=(TracksAnswer,),
        answer_example={"tracks": [TRACK], "next_cursor": None},
        writes=True,
        web_app=True,
    ),
    Route(
        "GET",
        "/tracks/{track_id}",
        "artists",
        "A track, with all that made it; one that was submitted and is not made yet, with its progress",
        GENERATE,
        inspect,
        answer=(TrackAnswer, SubmittedTrackAnswer),
        answer_example=TRACK,
        web_app=True,
    ),
    Route(
        "PATCH",
        "/tracks/{track_id}",
        "artists",
        "Change a track's title, or whether it is liked",
        GENERATE,
        change,
        body=TrackChanges,
        body_example={"title": "Night drive", "liked": True},
        answer=(TrackAnswer,),
        answer_example=TRACK,
        errors=(507,),
        writes=True,
        web_app=True,
    ),
    Route(
        "DELETE",
        "/tracks/{track_id}",
        "artists",
        "Delete a track with all that is stored besides it; cancel one that is not made yet",
        GENERATE,
        delete,
        answer=(TrackDeletedAnswer,),
        answer_example={"track_id": TRACK["track_id"], "deleted": [TRACK["output_path"]]},
        writes=True,
        web_app=True,
    ),
    Route(
        "GET",
        "/tracks/{track_id}/peaks",
        "artists",
        "The waveform of a track, to draw it without its audio",
        GENERATE,
        peaks,
        answer=(PeaksAnswer,),
        answer_example={"track_id": TRACK["track_id"], "duration_seconds": 30.0, "peaks": [0.0, 0.42, 0.91]},
        web_app=True,
    ),
)
