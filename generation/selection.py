"""Which twins and which backend generate a request."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from adapters.library import Library, twin_not_found
from adapters.stored_adapter import StoredAdapter
from contract import GenerateRequest
from core import principal
from core.errors import Refusal
from core.settings import Settings
from runners import TABLE, Backend
from runners.clients import Runners
from storage.producers import Producers


class Selection:
    """Finds a request's twins, and the backend that serves them.

    Args:
        runners: the backends that generate.
        library: the twins in storage.
        settings: the backends that are enabled, and the issuer of sign-in tokens.
    """

    def __init__(self, runners: Runners, library: Library, settings: Settings) -> None:
        self.runners = runners
        self.library = library
        self.settings = settings
        self.producers = Producers(library.storage)

    async def twins(self, request: GenerateRequest) -> Sequence[list[StoredAdapter]]:
        """The files of each requested twin. Another producer's twin counts as missing, unless it is open."""
        for lora_id in request.strengths:
            if not principal.sees(lora_id.partition(":")[0]) and not await self._is_open(lora_id):
                raise twin_not_found(lora_id)
        lookups = [asyncio.to_thread(self.library.find_or_recall, lora_id) for lora_id in request.strengths]
        return await asyncio.gather(*lookups)

    async def backend(self, request: GenerateRequest, twins: Sequence[list[StoredAdapter]]) -> Backend:
        headers = [found[0].header for found in twins]
        if request.backend_override:
            chosen = TABLE.choose(request.backend_override, self.settings)
            for header in headers:
                if header.backend != chosen.name:
                    raise Refusal(
                        409,
                        f"lora_id: {header.lora_id} was trained for {header.backend}; "
                        f"leave out backend_override or set it to that",
                    )
            return await self.runners.serving(chosen, may_fall_back=False)
        if len({header.backend for header in headers}) > 1:
            kinds = ", ".join(f"{header.lora_id} for {header.backend}" for header in headers)
            raise Refusal(409, f"loras: twins of different backends cannot be blended ({kinds})")
        if twins:
            return await self.runners.serving(self._own_backend(twins[0][0]), may_fall_back=False)
        return await self.runners.serving(TABLE.choose(None, self.settings), may_fall_back=True)

    async def _is_open(self, lora_id: str) -> bool:
        """Whether the principal may generate with another producer's twin; an earlier version of it is never open."""
        if not self.settings.auth_issuer or "@" in lora_id:
            return False
        return await asyncio.to_thread(self.producers.is_open, lora_id, principal.current().links)

    def _own_backend(self, twin: StoredAdapter) -> Backend:
        backend = TABLE.enabled(self.settings).get(twin.header.backend)
        if backend is None:
            raise Refusal(
                409, f"lora_id: {twin.header.lora_id} was trained for {twin.header.backend}, which is not served here"
            )
        return backend
