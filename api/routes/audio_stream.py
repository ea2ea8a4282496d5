"""The answer of a track that is sent while it is made."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from core.asgi.responses import LIVE_HEADERS
from core.errors import Refusal

log = logging.getLogger("producer_twin.front")


class AudioStream(StreamingResponse):
    """Sends chunks as they come. An error ends the connection, so that no client takes what it has for the whole.

    Args:
        chunks: of the file; they are closed when the answer ends, and also when it is cancelled.
        media_type: the file's.
        headers: besides `LIVE_HEADERS`.
    """

    def __init__(self, chunks: AsyncGenerator[bytes, None], media_type: str, headers: Mapping[str, str]) -> None:
        super().__init__(chunks, headers=LIVE_HEADERS | dict(headers), media_type=media_type)
        self._chunks = chunks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Starlette's own would end the answer of a client that goes away, which CancelOnDisconnect does."""
        async with aclosing(self._chunks):
            try:
                await self.stream_response(send)
            except Refusal as refusal:
                log.error("a stream was ended: %s", refusal.message)
                raise
        if self.background is not None:
            await self.background()
