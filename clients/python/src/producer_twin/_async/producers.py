"""Producers: what they have stored, their dataset, and their deletion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from producer_twin._async.resource import AsyncResource
from producer_twin._async.transport import NO_READ_TIMEOUT
from producer_twin._paths import path_of
from producer_twin.models import (
    DatasetAnswer,
    ProducerAnswer,
    ProducerDeletedAnswer,
    ProducerRecordAnswer,
    ProducersAnswer,
    UsageAnswer,
)

Visibility = Literal["private", "link", "public"]


class AsyncProducers(AsyncResource):
    """The producers."""

    async def list(self) -> ProducersAnswer:
        """Your producers, with their owner and who may generate with their twins, where the service has sign-in."""
        return ProducersAnswer.model_validate_json((await self._transport.send("GET", "/producers")).content)

    async def set(
        self,
        producer_id: str,
        *,
        display_name: str | None = None,
        twins: Mapping[str, Visibility] | None = None,
        owner: str | None = None,
    ) -> ProducerRecordAnswer:
        """Claim a producer's id that is free, and change what is given, where the service has sign-in.

        Args:
            display_name: a name for people.
            twins: who may generate with a twin, by its model name.
            owner: the user who gets it, by the `sub` of their tokens; only an administrator names another.
        """
        path = path_of("/producers/{producer_id}", producer_id=producer_id)
        answer = await self._transport.send(
            "PUT", path, json={"display_name": display_name, "twins": twins, "owner": owner}
        )
        return ProducerRecordAnswer.model_validate_json(answer.content)

    async def usage(self, producer_id: str) -> UsageAnswer:
        """How often the producer's twins were used, by month, where the service has sign-in."""
        path = path_of("/producers/{producer_id}/usage", producer_id=producer_id)
        return UsageAnswer.model_validate_json((await self._transport.send("GET", path)).content)

    async def storage(self, producer_id: str) -> ProducerAnswer:
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
