"""Converts an adapter made elsewhere for one of the served models (`POST /loras/import`, migration)."""

from __future__ import annotations

from core.errors import Refusal
from core.settings import Settings
from core.text import shown
from runners import TABLE, Backend
from runners.clients import Runners
from runners.messages import ConvertAnswer, ConvertRequest


async def convert(request: ConvertRequest, backend: str | None, runners: Runners, settings: Settings) -> ConvertAnswer:
    """The adapter in this service's format, with notes on values that were assumed.

    Args:
        backend: the backend to convert it for; None means the first of the runner table that it fits.

    Raises:
        Refusal: it fits no backend; the message has the reason of each.
    """
    chosen = list(TABLE.enabled(settings).values())
    if backend:
        chosen = [each for each in chosen if each.name == backend]
        if not chosen:
            known = ", ".join(TABLE.enabled(settings))
            raise Refusal(400, f"backend: {shown(backend)} is not a backend; use one of {known}")
    refusals: list[tuple[Backend, Refusal]] = []
    for each in chosen:
        try:
            return await runners.convert(each, request)
        except Refusal as refusal:
            refusals.append((each, refusal))
    # The highest status: a backend that was unavailable (503) may be the one that it fits.
    status = max(refusal.status for _, refusal in refusals)
    raise Refusal(status, "file: " + "; ".join(f"for {each.name}: {refusal.message}" for each, refusal in refusals))
