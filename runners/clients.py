"""The front process's client of the runners."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

from contract import BackendAnswer
from core.errors import Refusal
from core.settings import Settings
from runners import TABLE, Backend
from runners.messages import ConvertAnswer, ConvertRequest, QueuePosition, RunnerState, TrackAnswer, TrackRequest
from runners.stream_messages import messages

_STATE_MAX_AGE_SECONDS = 1.0
_ANSWER_TIMEOUT_SECONDS = 5.0
_MAX_SILENCE_SECONDS = 30.0
_LOADING_TIMEOUT_SECONDS = 60.0
_LOADING_POLL_SECONDS = 0.5


class Runners:
    """Calls the runners.

    Args:
        proxies: a BentoML client for each backend of the runner table.
        settings: they say which backends are enabled.
    """

    def __init__(self, proxies: Mapping[str, Any], settings: Settings) -> None:
        self.proxies = proxies
        self.settings = settings
        self._states: dict[str, tuple[float, RunnerState]] = {}
        self._answers: dict[str, tuple[float, RunnerState]] = {}
        self._default_silent_since: float | None = None
        self._default_settled = False
        self._under_way: Counter[str] = Counter()

    async def state(self, backend: Backend) -> RunnerState:
        """The runner's state, at most `_STATE_MAX_AGE_SECONDS` old. A runner that does not answer is not ready.

        On a busy machine, a runner may answer late. Its last state is then kept for `_MAX_SILENCE_SECONDS`.
        """
        taken, known = self._states.get(backend.name, (0.0, None))
        if known and time.monotonic() - taken < _STATE_MAX_AGE_SECONDS:
            return known
        try:
            async with asyncio.timeout(_ANSWER_TIMEOUT_SECONDS):
                state: RunnerState = await self.proxies[backend.name].to_async.describe()
                self._answers[backend.name] = (time.monotonic(), state)
        except Exception as error:  # noqa: BLE001 - for any reason, it cannot serve
            answered, last = self._answers.get(backend.name, (0.0, None))
            late = isinstance(error, TimeoutError) and time.monotonic() - answered < _MAX_SILENCE_SECONDS
            state = (
                last
                if last and late
                else RunnerState(
                    ready=False,
                    answered=False,
                    reason=f"its process does not answer ({type(error).__name__})",
                    checkpoint=backend.checkpoint_name(self.settings),
                )
            )
        self._states[backend.name] = (time.monotonic(), state)
        return state

    async def describe(self) -> list[BackendAnswer]:
        """The rows of `GET /backends`."""
        return [
            BackendAnswer(
                name=row.name,
                ready=state.ready,
                reason=state.reason,
                loading=state.progress,
                checkpoint=state.checkpoint,
                licence=row.licence,
                commercial_use=row.commercial_use,
                sample_rate=state.sample_rate,
                channels=state.channels,
                max_duration_seconds=row.longest(self.settings),
                tasks=state.tasks,
                takes_reference=state.takes_reference,
                streams=state.streams,
                default=row.name == self.settings.music_backend,
                under_way=self._under_way[row.name],
            )
            for row, state in await self._states_of_enabled()
        ]

    async def states(self) -> dict[str, RunnerState]:
        """The state of each enabled backend, by name."""
        return {row.name: state for row, state in await self._states_of_enabled()}

    async def largest_adapter(self) -> int:
        """The maximum size in bytes of an adapter file for any model; unbounded until a runner is ready."""
        sizes = [state.largest_adapter for _, state in await self._states_of_enabled()]
        return max(filter(None, sizes), default=sys.maxsize)

    async def why_not_ready(self) -> str | None:
        """Why requests cannot be served; None if they can.

        Until the default backend has been ready once, nothing else takes its place, unless it has failed to load, is
        not enabled, or its runner has not answered for `_LOADING_TIMEOUT_SECONDS`. From then on one ready backend
        suffices.
        """
        name = self.settings.music_backend
        states = await self.states()
        default = states.get(name) or RunnerState(ready=False, reason="it is not enabled", checkpoint="")
        now = time.monotonic()
        since = self._default_silent_since = None if default.answered else self._default_silent_since or now
        gone = since is not None and now - since >= _LOADING_TIMEOUT_SECONDS
        if default.ready or gone or (default.answered and not default.loading):
            self._default_settled = True
        if self._default_settled and any(state.ready for state in states.values()):
            return None
        return f"{name}: {default.reason}"

    async def _states_of_enabled(self) -> list[tuple[Backend, RunnerState]]:
        rows = list(TABLE.enabled(self.settings).values())
        return list(zip(rows, await asyncio.gather(*map(self.state, rows)), strict=True))

    async def serving(self, backend: Backend, may_fall_back: bool) -> Backend:
        """Choose the backend that serves a request.

        Args:
            backend: the preferred one.
            may_fall_back: whether the first ready backend may take its place.

        Raises:
            Refusal: 503 with the reason.
        """
        state = await self._loaded(backend)
        if state.ready:
            return backend
        if may_fall_back:
            for other in TABLE.enabled(self.settings).values():
                if (await self.state(other)).ready:
                    return other
        raise Refusal(503, f"{backend.name} cannot serve: {state.reason}; try again later, or see /backends")

    async def _loaded(self, backend: Backend) -> RunnerState:
        """The runner's state after loading. Early requests wait for it rather than fall back to another backend."""
        end = time.monotonic() + _LOADING_TIMEOUT_SECONDS
        state = await self.state(backend)
        while state.loading and time.monotonic() < end:
            await asyncio.sleep(_LOADING_POLL_SECONDS)
            state = await self.state(backend)
        return state

    async def generate(self, backend: Backend, request: TrackRequest) -> TrackAnswer:
        """Generate a track, or several takes of it.

        Raises:
            Refusal: with the runner's status and message.
        """
        self._under_way[backend.name] += request.takes
        try:
            answer: TrackAnswer = await self.proxies[backend.name].to_async.generate(request=request)
        except Exception as error:
            raise self._unfinished(backend, error) from error
        finally:
            self._under_way[backend.name] -= request.takes
        return self._checked(backend, answer)

    async def stream(self, backend: Backend, request: TrackRequest) -> AsyncGenerator[bytes | TrackAnswer, None]:
        """Generate a track: its samples, 32-bit floats, as they are decoded, and at the end an answer without samples.

        Raises:
            Refusal: with the runner's status and message, also after samples.
        """
        self._under_way[backend.name] += 1
        try:
            received = self.proxies[backend.name].to_async.stream(request=request)
            async with aclosing(received), aclosing(messages(received)) as stream:
                async for message in stream:
                    yield message if isinstance(message, bytes) else self._checked(backend, message)
        except Refusal:
            raise
        except Exception as error:
            raise self._unfinished(backend, error) from error
        finally:
            self._under_way[backend.name] -= 1

    def _checked(self, backend: Backend, answer: TrackAnswer) -> TrackAnswer:
        """The answer. Raises the Refusal that it has instead."""
        if answer.error:
            if answer.status == 503:
                self._forget(backend)
            raise Refusal(answer.status, answer.error, answer.wait)
        return answer

    def _forget(self, backend: Backend) -> None:
        """Ask for the runner's state at the next request, since it may not be ready any more."""
        self._states.pop(backend.name, None)
        self._answers.pop(backend.name, None)

    def _unfinished(self, backend: Backend, error: Exception) -> Refusal:
        self._forget(backend)
        return Refusal(503, f"{backend.name} did not finish the track ({type(error).__name__}); try again")

    async def queue_position(self, backend: Backend, queue_key: str) -> QueuePosition:
        """The track's position in this runner; without a `state` if the runner does not have it or does not answer."""
        try:
            async with asyncio.timeout(_ANSWER_TIMEOUT_SECONDS):
                answer: QueuePosition = await self.proxies[backend.name].to_async.queue_position(queue_key=queue_key)
        except Exception:  # noqa: BLE001 - for any reason, its position is unknown
            return QueuePosition()
        return answer

    async def convert(self, backend: Backend, request: ConvertRequest) -> ConvertAnswer:
        """Convert an adapter file of another tool.

        Raises:
            Refusal: 400, it does not fit the model; 503, the runner cannot serve.
        """
        try:
            answer: ConvertAnswer = await self.proxies[backend.name].to_async.convert(request=request)
        except Exception as error:
            raise Refusal(503, f"{backend.name} did not answer ({type(error).__name__}); try again") from error
        if answer.error:
            raise Refusal(answer.status, answer.error)
        return answer
