"""Converts an adapter made elsewhere for a model that is served (`POST /loras/import`, migration)."""

from __future__ import annotations

from core.errors import Refusal
from core.settings import Settings
from core.text import shown
from runners import TABLE, Backend
from runners.clients import Runners
from runners.messages import AdoptAnswer, AdoptRequest


async def converted(
    data: bytes,
    config: bytes | None,
    producer: str,
    model: str,
    backend: str | None,
    runners: Runners,
    settings: Settings,
) -> AdoptAnswer:
    """The adapter in this service's format, with notes on what had to be assumed.

    Args:
        config: PEFT's adapter_config.json, if it was sent.
        backend: the backend to convert it for; None means the first of the runner table that it fits.

    Raises:
        Refusal: it fits no backend; the message has the reason of each.
    """
    request = AdoptRequest(data=data, config=config, producer_id=producer, model_name=model)
    chosen = list(TABLE.enabled(settings).values())
    if backend:
        chosen = [each for each in chosen if each.name == backend]
        if not chosen:
            known = ", ".join(TABLE.enabled(settings))
            raise Refusal(400, f"backend: {shown(backend)} is not a backend; use one of {known}")
    refusals: list[tuple[Backend, Refusal]] = []
    for each in chosen:
        try:
            return await runners.adopt(each, request)
        except Refusal as refusal:
            refusals.append((each, refusal))
    # The highest status: a backend that was unavailable (503) may be the one that it fits.
    status = max(refusal.status for _, refusal in refusals)
    raise Refusal(status, "file: " + "; ".join(f"for {each.name}: {refusal.message}" for each, refusal in refusals))
