"""Runners in the calling process, for the command line."""

from __future__ import annotations

from typing import Any

from runners import TABLE
from runners.base import Runner
from runners.messages import AdoptAnswer, AdoptRequest, RunnerState, TrackAnswer, TrackRequest


class LocalRunners(dict[str, Any]):
    """A runner for each backend, loaded at its first use."""

    def __missing__(self, name: str) -> LocalRunner:
        service = next(row.service for row in TABLE if row.name == name)
        runner = self[name] = LocalRunner(service.inner())
        runner.runner.settled.wait()
        return runner


class LocalRunner:
    """Has the interface of BentoML's client of a runner."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner

    @property
    def to_async(self) -> LocalRunner:
        return self

    async def describe(self) -> RunnerState:
        state: RunnerState = await self.runner.describe()
        return state

    async def generate(self, request: TrackRequest) -> TrackAnswer:
        answer: TrackAnswer = await self.runner.generate(request)
        return answer

    async def adopt(self, request: AdoptRequest) -> AdoptAnswer:
        answer: AdoptAnswer = await self.runner.adopt(request)
        return answer
