"""The runners as the front sees them: who is ready, and who serves a request."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

from contract import BackendAnswer
from core.errors import Refusal
from core.settings import Settings
from runners import TABLE, Backend
from runners.messages import AdoptAnswer, AdoptRequest, PlaceAnswer, RunnerState, TrackAnswer, TrackRequest

_STATE_SECONDS = 1.0
_ANSWER_SECONDS = 5.0
_LOADING_SECONDS = 60.0


class Runners:
    """`proxies`: a BentoML client for each backend of the table."""

    def __init__(self, proxies: Mapping[str, Any], settings: Settings) -> None:
        self.proxies = proxies
        self.settings = settings
        self._states: dict[str, tuple[float, RunnerState]] = {}
        self._under_way: Counter[str] = Counter()

    async def state(self, backend: Backend) -> RunnerState:
        """How the runner is, at most a second old. One that does not answer is not ready."""
        taken, known = self._states.get(backend.name, (0.0, None))
        if known and time.monotonic() - taken < _STATE_SECONDS:
            return known
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                state: RunnerState = await self.proxies[backend.name].to_async.describe()
        except Exception as error:  # noqa: BLE001 - whatever keeps it from answering, it cannot serve
            state = RunnerState(
                ready=False,
                reason=f"its process does not answer ({type(error).__name__})",
                checkpoint=backend.checkpoint_name(self.settings),
            )
        self._states[backend.name] = (time.monotonic(), state)
        return state

    async def describe(self) -> list[BackendAnswer]:
        """The rows of `GET /backends`."""
        rows = list(TABLE.enabled(self.settings).values())
        states = await asyncio.gather(*(self.state(row) for row in rows))
        return [
            BackendAnswer(
                name=row.name,
                ready=state.ready,
                reason=state.reason,
                checkpoint=state.checkpoint,
                licence=row.licence,
                commercial_use=row.commercial_use,
                sample_rate=state.sample_rate,
                channels=state.channels,
                max_duration_seconds=row.longest(self.settings),
                default=row.name == self.settings.music_backend,
                under_way=self._under_way[row.name],
            )
            for row, state in zip(rows, states, strict=True)
        ]

    async def largest_adapter(self) -> int:
        """Bytes that an adapter may have that fits one of the models; unbounded while none is known."""
        states = await asyncio.gather(*(self.state(row) for row in TABLE.enabled(self.settings).values()))
        return max((state.largest_adapter for state in states if state.largest_adapter), default=sys.maxsize)

    async def any_ready(self) -> bool:
        states = await asyncio.gather(*(self.state(row) for row in TABLE.enabled(self.settings).values()))
        return any(state.ready for state in states)

    async def serving(self, backend: Backend, may_fall_back: bool) -> Backend:
        """The backend itself if it is ready, else, where nobody asked for it by name, the first that is.

        Raises:
            Refusal: 503 with the reason.
        """
        state = await self._settled(backend)
        if state.ready:
            return backend
        if may_fall_back:
            for other in TABLE.enabled(self.settings).values():
                if (await self.state(other)).ready:
                    return other
        raise Refusal(503, f"{backend.name} cannot serve: {state.reason}; try again later, or see /backends")

    async def _settled(self, backend: Backend) -> RunnerState:
        """How the runner is once it has loaded: who comes early waits a while instead of getting another backend."""
        end = time.monotonic() + _LOADING_SECONDS
        state = await self.state(backend)
        while state.loading and time.monotonic() < end:
            await asyncio.sleep(_STATE_SECONDS / 2)
            state = await self.state(backend)
        return state

    async def generate(self, backend: Backend, request: TrackRequest) -> TrackAnswer:
        """One track, in whatever batch it comes to be in.

        Raises:
            Refusal: with the runner's status and sentence.
        """
        self._under_way[backend.name] += 1
        try:
            answer: TrackAnswer = await self.proxies[backend.name].to_async.generate(request=request)
        except Exception as error:
            self._states.pop(backend.name, None)  # whether it is ready has to be asked anew
            raise Refusal(
                503, f"{backend.name} did not finish the track ({type(error).__name__}); try again"
            ) from error
        finally:
            self._under_way[backend.name] -= 1
        if answer.error:
            if answer.status == 503:
                self._states.pop(backend.name, None)
            raise Refusal(answer.status, answer.error, answer.wait)
        return answer

    async def place(self, backend: Backend, name: str) -> PlaceAnswer:
        """What the runner knows of the row of this `place`; one that does not answer knows nothing."""
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                answer: PlaceAnswer = await self.proxies[backend.name].to_async.place(name=name)
        except Exception:  # noqa: BLE001 - whatever keeps it from answering
            return PlaceAnswer()
        return answer

    async def adopt(self, backend: Backend, request: AdoptRequest) -> AdoptAnswer:
        """An adapter from elsewhere in our form.

        Raises:
            Refusal: 400 with why it does not fit, 503.
        """
        try:
            answer: AdoptAnswer = await self.proxies[backend.name].to_async.adopt(request=request)
        except Exception as error:
            raise Refusal(503, f"{backend.name} did not answer ({type(error).__name__}); try again") from error
        if answer.error:
            raise Refusal(answer.status, answer.error)
        return answer
