"""Producers: what they have stored, their dataset, and their deletion."""

from __future__ import annotations

from producer_twin._async.resource import AsyncResource
from producer_twin._async.transport import NO_READ_TIMEOUT
from producer_twin._paths import path_of
from producer_twin.models import DatasetAnswer, ProducerAnswer, ProducerDeletedAnswer


class AsyncProducers(AsyncResource):
    """The producers."""

    async def usage(self, producer_id: str) -> ProducerAnswer:
        """The storage that a producer uses, and the limit."""
        path = path_of("/producers/{producer_id}", producer_id=producer_id)
        return ProducerAnswer.model_validate_json((await self._transport.send("GET", path)).content)

    async def delete(self, producer_id: str) -> ProducerDeletedAnswer:
        """Delete everything that is stored for a producer."""
        path = path_of("/producers/{producer_id}", producer_id=producer_id)
        answer = await self._transport.send("DELETE", path, timeout=NO_READ_TIMEOUT, repeatable=False)
        return ProducerDeletedAnswer.model_validate_json(answer.content)

    async def dataset(self, producer_id: str) -> DatasetAnswer:
        """The record of the producer's newest dataset."""
        path = path_of("/datasets/{producer_id}", producer_id=producer_id)
        return DatasetAnswer.model_validate_json((await self._transport.send("GET", path)).content)
