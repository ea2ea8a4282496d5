"""Runners in the calling process, for the command line."""

from __future__ import annotations

from typing import Any

from runners import TABLE
from runners.base import Runner
from runners.messages import ConvertAnswer, ConvertRequest, RunnerState, TrackAnswer, TrackRequest


class LocalRunners(dict[str, Any]):
    """A runner for each backend, loaded at its first use."""

    def __missing__(self, name: str) -> LocalRunner:
        service = next(row.service for row in TABLE if row.name == name)
        runner = self[name] = LocalRunner(service.inner())
        runner.runner.settled.wait()
        return runner


class LocalRunner:
    """A runner with the interface of BentoML's client."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner

    @property
    def to_async(self) -> LocalRunner:
        return self

    async def describe(self) -> RunnerState:
        return await self.runner.describe()

    async def generate(self, request: TrackRequest) -> TrackAnswer:
        return await self.runner.generate(request)

    async def convert(self, request: ConvertRequest) -> ConvertAnswer:
        return await self.runner.convert(request)
