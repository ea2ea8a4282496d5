"""The audio of a submitted track while it is made, for any number of listeners."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import numpy as np

from contract import OutputFormat
from core.errors import Refusal
from generation.prepared import Prepared
from generation.streaming.delivery import StreamedDelivery
from generation.streaming.encoded import EncodedStream
from models.loudness import normalising_gain
from runners import pcm
from runners.messages import TrackAnswer

# A tenth of a WAV file, and what browsers play as it comes.
LIVE_FORMAT: OutputFormat = "opus"


class LiveAudio:
    """The file of a track's audio so far, at the level at which the model makes it.

    It keeps what listeners read from the start, a few megabytes for ten minutes, so that a slow listener or none does
    not hold up the track.
    """

    def __init__(self) -> None:
        self._file = bytearray()
        self._ended = False
        self._error: Refusal | None = None
        self._news = asyncio.Event()

    @property
    def has_begun(self) -> bool:
        """Whether there is sound."""
        return bool(self._file)

    def add(self, chunk: bytes) -> None:
        """Add the next bytes of the file."""
        self._file += chunk
        self._tell()

    def end(self, error: Refusal | None = None) -> None:
        """End the file, once.

        Args:
            error: why there is no more; None if the file is whole.
        """
        if not self._ended:
            self._ended, self._error = True, error
            self._tell()

    async def begun(self) -> None:
        """Wait until there is sound. Raises the Refusal that it was ended with before."""
        while not (self._file or self._ended):
            await self._news.wait()
        if self._error and not self._file:
            raise self._error

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The file from its start, as it comes. Raises the Refusal that it was ended with."""
        sent = 0
        while True:
            news = self._news
            if chunk := bytes(self._file[sent:]):
                sent += len(chunk)
                yield chunk
            elif self._error:
                raise self._error
            elif self._ended:
                return
            else:
                await news.wait()

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()


async def passed_on(
    messages: AsyncGenerator[bytes | TrackAnswer, None], prepared: Prepared, live: LiveAudio
) -> TrackAnswer:
    """The track of a runner's stream as the runner answers it whole; its audio is added to `live` as it comes."""
    stream, samples = EncodedStream(messages, StreamedDelivery.of(prepared, LIVE_FORMAT)), bytearray()
    async with aclosing(stream.pieces()) as pieces:
        async for piece, chunk in pieces:
            samples += piece
            live.add(chunk)
    live.add(await stream.close())
    return await asyncio.to_thread(_whole, samples, stream.answer, prepared)


def _whole(received: bytearray, answer: TrackAnswer, prepared: Prepared) -> TrackAnswer:
    request, state = prepared.track_request, prepared.state
    assert state.sample_rate and state.channels, "they are known when the runner is ready"
    samples = np.frombuffer(received, "<f4").reshape(-1, state.channels).T
    gain = normalising_gain(samples)
    latents = answer.latents and answer.latents.model_copy(update={"gain": gain})
    return TrackAnswer(
        pcm=pcm.encoded(samples * np.float32(gain), request.sample_format, prepared.request.seed),
        sample_format=request.sample_format,
        sample_rate=state.sample_rate,
        channels=state.channels,
        latents=latents,
    )
