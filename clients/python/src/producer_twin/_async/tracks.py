"""Tracks: make, follow in the queue, save; and the library of those that were made."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Unpack

import httpx
from pydantic import PrivateAttr

from producer_twin._async.event_stream import events
from producer_twin._async.resource import AsyncResource
from producer_twin._async.transport import NO_READ_TIMEOUT
from producer_twin._files import FORMATS, FilePart, OnProgress, name_of, written
from producer_twin._idempotency import idempotent
from producer_twin._paths import output_path, path_of
from producer_twin.errors import TrackFailed
from producer_twin.models import (
    GenerateLinkAnswer,
    PeaksAnswer,
    QueueAnswer,
    SubmittedTrackAnswer,
    TakesAnswer,
    TrackAnswer,
    TrackDeletedAnswer,
    TracksAnswer,
)
from producer_twin.models import Take as TakeAnswer
from producer_twin.requests import GenerateOptions, SubmitOptions

if TYPE_CHECKING:
    from producer_twin._async.client import AsyncProducerTwin


ENDED = frozenset({"done", "failed", "cancelled"})


class AsyncTrack(GenerateLinkAnswer):
    """A track that the service has made and stored. Its audio is fetched when it is asked for."""

    _client: AsyncProducerTwin = PrivateAttr()

    async def save(self, path: str | os.PathLike[str], on_progress: OnProgress | None = None) -> Path:
        """Write the audio to a file; the service converts it to the format that the extension names."""
        return await self._client.tracks.save(self.output_path, path, on_progress)

    async def read(self) -> bytes:
        """The audio file as it is stored."""
        return await self._client.tracks.read(self.output_path)


class AsyncTake(TakeAnswer):
    """One of several takes of a track."""

    _client: AsyncProducerTwin = PrivateAttr()

    async def save(self, path: str | os.PathLike[str], on_progress: OnProgress | None = None) -> Path:
        """Write the audio to a file; the service converts it to the format that the extension names."""
        return await self._client.tracks.save(self.output_path, path, on_progress)

    async def read(self) -> bytes:
        """The audio file as it is stored."""
        return await self._client.tracks.read(self.output_path)


class AsyncTakes(TakesAnswer):
    """Several takes of a track, in the order of `rank`."""

    takes: list[AsyncTake]  # type: ignore[assignment]  # each is a `TakeAnswer`


class AsyncTracks(AsyncResource):
    """The tracks."""

    async def generate(
        self,
        prompt: str,
        *,
        source_file: str | os.PathLike[str] | None = None,
        reference_file: str | os.PathLike[str] | None = None,
        request_id: str | None = None,
        idempotency_key: str | None = None,
        **options: Unpack[GenerateOptions],
    ) -> AsyncTrack:
        """Make a track.

        Args:
            prompt: a description of the music.
            source_file: a file to edit, instead of the path `source`.
            reference_file: a file whose timbre is followed, instead of the path `reference`.
            request_id: an id of your choice, such as a UUID, for `queue`.
            idempotency_key: the same key with the same request is the same track; a new one if left out.
            options: the fields of `POST /generate`.
        """
        fields = {"prompt": prompt, **options}
        answer = await self._generate(fields, source_file, reference_file, request_id, idempotency_key)
        track = AsyncTrack.model_validate_json(answer.content)
        track._client = self._client
        return track

    async def generate_takes(
        self,
        prompt: str,
        takes: int,
        *,
        source_file: str | os.PathLike[str] | None = None,
        reference_file: str | os.PathLike[str] | None = None,
        request_id: str | None = None,
        idempotency_key: str | None = None,
        **options: Unpack[GenerateOptions],
    ) -> AsyncTakes:
        """Make several takes of a track, which differ in their seeds, in one batch.

        Args:
            prompt: a description of the music.
            takes: how many, from 2.
            source_file: a file to edit, instead of the path `source`.
            reference_file: a file whose timbre is followed, instead of the path `reference`.
            request_id: an id of your choice, such as a UUID, for `queue`.
            idempotency_key: the same key with the same request is the same track; a new one if left out.
            options: the fields of `POST /generate`.
        """
        fields = {"prompt": prompt, "takes": takes, **options}
        answer = await self._generate(fields, source_file, reference_file, request_id, idempotency_key)
        made = AsyncTakes.model_validate_json(answer.content)
        for take in made.takes:
            take._client = self._client
        return made

    async def _generate(
        self,
        fields: Mapping[str, Any],
        source_file: str | os.PathLike[str] | None,
        reference_file: str | os.PathLike[str] | None,
        request_id: str | None,
        idempotency_key: str | None,
    ) -> httpx.Response:
        fields = {**fields, "response": "url"}
        files = _recordings(source_file, reference_file)
        return await self._transport.send(
            "POST",
            "/generate/form" if files else "/generate",
            json=None if files else fields,
            form=_as_texts(fields) if files else None,
            files=files,
            headers=idempotent(idempotency_key) | ({"x-request-id": request_id} if request_id else {}),
            timeout=NO_READ_TIMEOUT,
        )

    async def submit(
        self,
        prompt: str,
        *,
        source_file: str | os.PathLike[str] | None = None,
        reference_file: str | os.PathLike[str] | None = None,
        idempotency_key: str | None = None,
        **options: Unpack[SubmitOptions],
    ) -> SubmittedTrackAnswer:
        """Start to make a track, and return at once; `wait` waits for it.

        Args:
            prompt: a description of the music.
            source_file: a file to edit, instead of the path `source`.
            reference_file: a file whose timbre is followed, instead of the path `reference`.
            idempotency_key: the same key with the same request is the same track; a new one if left out.
            options: the fields of `POST /generate/submit`.
        """
        fields, files = {"prompt": prompt, **options}, _recordings(source_file, reference_file)
        answer = await self._transport.send(
            "POST",
            "/generate/form/submit" if files else "/generate/submit",
            json=None if files else fields,
            form=_as_texts(fields) if files else None,
            files=files,
            headers=idempotent(idempotency_key),
        )
        return SubmittedTrackAnswer.model_validate_json(answer.content)

    async def events(self, track_id: str) -> AsyncIterator[SubmittedTrackAnswer]:
        """A submitted track now and whenever it changes, until it is made, has failed, or was cancelled.

        Raises:
            ApiError: such as 404, there is no such track.
            Unreachable: the connection was lost several times with nothing received in between.
        """
        path = path_of("/tracks/{track_id}/events", track_id=track_id)
        async for data in events(self._transport, path, lambda data: _submitted(data).state in ENDED):
            yield _submitted(data)

    async def wait(self, track_id: str, on_change: Callable[[SubmittedTrackAnswer], Any] | None = None) -> TrackAnswer:
        """The record of a submitted track when it is made.

        Args:
            on_change: is called with the track whenever it changes.

        Raises:
            TrackFailed: it failed, or was cancelled.
        """
        error = None
        async for submitted in self.events(track_id):
            if on_change:
                on_change(submitted)
            if submitted.track is not None:
                return submitted.track
            error = submitted.error
        raise TrackFailed(track_id, error)

    async def listen(self, track_id: str) -> AsyncIterator[bytes]:
        """The audio of a track that was submitted with `stream`, in pieces, as it is made: Ogg Opus, from the start.

        Raises:
            ApiError: 404, there is no such track; 409, it cannot be heard before it is made.
            Unreachable: the connection was lost, or the track was not made to its end.
        """
        path = path_of("/tracks/{track_id}/stream", track_id=track_id)
        async with self._transport.stream(path, timeout=NO_READ_TIMEOUT) as answer:
            async for piece in answer.aiter_bytes():
                yield piece

    async def queue(self, request_id: str) -> QueueAnswer:
        """The queue position of a track that is being made."""
        answer = await self._transport.send("GET", path_of("/queue/{request_id}", request_id=request_id))
        return QueueAnswer.model_validate_json(answer.content)

    async def list(
        self,
        *,
        producer_id: str | None = None,
        lora_id: str | None = None,
        text: str | None = None,
        parent: str | None = None,
        liked: bool = False,
        cursor: str | None = None,
        limit: int | None = None,
    ) -> TracksAnswer:
        """A page of the library, the newest first.

        Args:
            producer_id: tracks of this producer's twins and recordings only.
            lora_id: tracks with this twin only, or with its version after an @.
            text: tracks with all of these words in the title, the prompt or the lyrics only.
            parent: edits of this track only.
            liked: tracks that are liked only.
            cursor: the `next_cursor` of the page before.
            limit: tracks a page, 100 at most.
        """
        wanted = {
            "producer_id": producer_id,
            "lora_id": lora_id,
            "text": text,
            "parent": parent,
            "liked": "true" if liked else None,
            "cursor": cursor,
            "limit": limit,
        }
        return TracksAnswer.model_validate_json((await self._transport.send("GET", "/tracks", params=wanted)).content)

    async def get(self, track_id: str) -> TrackAnswer | SubmittedTrackAnswer:
        """A track of the library, with all that made it; a submitted one that is not made yet, with its progress."""
        answer = await self._transport.send("GET", path_of("/tracks/{track_id}", track_id=track_id))
        is_made = "state" not in answer.json()
        return TrackAnswer.model_validate_json(answer.content) if is_made else _submitted(answer.text)

    async def change(self, track_id: str, *, title: str | None = None, liked: bool | None = None) -> TrackAnswer:
        """Change a track's title, which an empty text removes, or whether it is liked."""
        path = path_of("/tracks/{track_id}", track_id=track_id)
        answer = await self._transport.send("PATCH", path, json={"title": title, "liked": liked})
        return TrackAnswer.model_validate_json(answer.content)

    async def delete(self, track_id: str) -> TrackDeletedAnswer:
        """Delete a track with all that is stored besides it; cancel one that is not made yet."""
        path = path_of("/tracks/{track_id}", track_id=track_id)
        answer = await self._transport.send("DELETE", path, repeatable=False)
        return TrackDeletedAnswer.model_validate_json(answer.content)

    async def peaks(self, track_id: str) -> PeaksAnswer:
        """The waveform of a track."""
        answer = await self._transport.send("GET", path_of("/tracks/{track_id}/peaks", track_id=track_id))
        return PeaksAnswer.model_validate_json(answer.content)

    async def read(self, stored: str, *, format: str | None = None) -> bytes:
        """The audio file of a stored track, by its `output_path`.

        Args:
            format: convert a track that is stored as WAV or FLAC to wav, flac, mp3, opus or m4a.
        """
        async with self._opened(stored, format) as answer:
            return await answer.aread()

    async def save(self, stored: str, path: str | os.PathLike[str], on_progress: OnProgress | None = None) -> Path:
        """Write a stored track to a file; the service converts it to the format that the extension names.

        Args:
            stored: the track's `output_path`.
        """
        target = Path(path)
        wanted = FORMATS.get(target.suffix.lower())
        is_stored = wanted == FORMATS.get(PurePosixPath(stored).suffix)
        async with self._opened(stored, None if is_stored else wanted) as answer:
            length = int(answer.headers["content-length"]) if "content-length" in answer.headers else None
            done = 0
            with written(target) as file:
                async for chunk in answer.aiter_bytes():
                    file.write(chunk)
                    done += len(chunk)
                    if on_progress:
                        on_progress(done, length)
        return target

    @asynccontextmanager
    async def _opened(self, stored: str, format: str | None) -> AsyncIterator[httpx.Response]:
        options = {"params": {"format": format}} if format else {}
        async with self._transport.stream(output_path(stored), timeout=NO_READ_TIMEOUT, **options) as answer:
            yield answer


def _recordings(source: str | os.PathLike[str] | None, reference: str | os.PathLike[str] | None) -> list[FilePart]:
    sent = {"source": source, "reference": reference}
    return [FilePart(Path(path), name_of(path), field=name) for name, path in sent.items() if path is not None]


def _submitted(data: str) -> SubmittedTrackAnswer:
    return SubmittedTrackAnswer.model_validate_json(data)


def _as_texts(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a form, whose lists are JSON."""
    return {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in fields.items()
        if value is not None
    }
