"""A runner's stream of a track, with the bytes of its file as they come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from generation.streaming.delivery import StreamedDelivery
from runners.messages import TrackAnswer


class EncodedStream:
    """A track that comes in pieces.

    Attributes:
        delivery: encodes the pieces. It is to be closed when all have come.
        answer: the runner's, without samples; known when all pieces have come.
    """

    def __init__(self, messages: AsyncGenerator[bytes | TrackAnswer, None], delivery: StreamedDelivery) -> None:
        self.delivery = delivery
        self.answer = TrackAnswer()
        self._messages = messages

    async def pieces(self) -> AsyncGenerator[tuple[bytes, bytes], None]:
        """Each piece of samples, and the next bytes of the file, if there are any. Raises what the messages do."""
        async with aclosing(self._messages) as messages:
            async for message in messages:
                if isinstance(message, TrackAnswer):
                    self.answer = message
                else:
                    yield message, await asyncio.to_thread(self.delivery.add, message)

    async def close(self) -> bytes:
        """The last bytes of the file. Raises EOFError if samples are missing."""
        return await asyncio.to_thread(self.delivery.close)
