"""Closes the connection of a stream whose reader has gone, so that the runner notices.

BentoML's client leaves such a connection open, and has no option for it: `install` replaces the method that reads it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from _bentoml_impl.client.proxy2 import AsyncClient


def install() -> None:
    """Close the connections of all streams that this process reads from now on."""
    read = AsyncClient._parse_stream_response

    async def read_and_close(client: AsyncClient, endpoint: Any, answer: Any) -> AsyncGenerator[Any, None]:
        try:
            async for data in read(client, endpoint, answer):
                yield data
        finally:
            answer.close()

    AsyncClient._parse_stream_response = read_and_close  # type: ignore[method-assign]
