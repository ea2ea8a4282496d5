"""`AsyncResource`: a group of the client's methods."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from producer_twin._async.client import AsyncProducerTwin


class AsyncResource:
    """Base class of the groups of methods."""

    def __init__(self, client: AsyncProducerTwin) -> None:
        self._client = client
        self._transport = client.transport
