"""The service itself: its models, its health, its description."""

from __future__ import annotations

from typing import Any

from producer_twin._async.resource import AsyncResource
from producer_twin.models import BackendAnswer, BackendsAnswer, WebhooksAnswer


class AsyncService(AsyncResource):
    """The service."""

    async def backends(self) -> list[BackendAnswer]:
        """The models, whether each can serve, and what a training of it takes."""
        answer = await self._transport.send("GET", "/backends")
        return BackendsAnswer.model_validate_json(answer.content).backends

    async def webhooks(self) -> WebhooksAnswer:
        """Your secret, which verifies webhooks, and the latest deliveries."""
        return WebhooksAnswer.model_validate_json((await self._transport.send("GET", "/webhooks")).content)

    async def live(self) -> None:
        """Raises an exception unless the service's process lives."""
        await self._transport.send("GET", "/livez")

    async def ready(self) -> None:
        """Raises an exception unless the service can make tracks now."""
        await self._transport.send("GET", "/readyz")

    async def status_page(self) -> str:
        """The state of the service, as an HTML page."""
        return (await self._transport.send("GET", "/status", page=True)).text

    async def metrics(self) -> str:
        """The metrics, in Prometheus' format."""
        return (await self._transport.send("GET", "/metrics")).text

    async def openapi(self) -> dict[str, Any]:
        """The OpenAPI document."""
        document: dict[str, Any] = (await self._transport.send("GET", "/docs.json")).json()
        return document
