"""`POST /loras/import`: an adapter made elsewhere becomes a twin, if it fits the model that is served."""

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
    """The adapter in our form, with notes on what had to be taken for granted.

    Args:
        config: PEFT's adapter_config.json, where there is one.
        backend: the one to convert it for; without one, the first of the table that it fits.

    Raises:
        Refusal: with the reason why it fits none.
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
    # A backend that could not look may be the one that it fits.
    status = max(refusal.status for _, refusal in refusals)
    raise Refusal(status, "file: " + "; ".join(f"for {each.name}: {refusal.message}" for each, refusal in refusals))
