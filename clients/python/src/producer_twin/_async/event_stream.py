"""Follows a stream of server-sent events. A lost connection is made again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from producer_twin._async.transport import AsyncTransport
from producer_twin._events import EventParser
from producer_twin.errors import Unreachable

# The service sends a comment every 15 s where there is no event.
_EVENT_SECONDS = 60.0
_RECONNECT_SECONDS = 2.0
_MAX_LOST_STREAMS = 5


async def events(transport: AsyncTransport, path: str, is_last: Callable[[str], bool]) -> AsyncIterator[str]:
    """The data of each event, until the last one.

    Raises:
        ApiError: such as 404, what is followed was deleted.
        Unreachable: the connection was lost several times with nothing received in between.
    """
    last_id: str | None = None
    lost = 0
    while True:
        headers = {"last-event-id": last_id} if last_id else None
        try:
            async with transport.stream(path, headers=headers, timeout=_EVENT_SECONDS) as answer:
                if answer.status_code == 204:
                    return
                parser = EventParser()
                async for line in answer.aiter_lines():
                    lost = 0
                    data = parser.feed(line)
                    # A new stream begins with the record, which may be known.
                    if data is None or parser.id == last_id:
                        continue
                    last_id = parser.id
                    yield data
                    if is_last(data):
                        return
        except Unreachable:
            lost += 1
            if lost > _MAX_LOST_STREAMS:
                raise
        await asyncio.sleep(_RECONNECT_SECONDS)
