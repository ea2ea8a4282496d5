"""When the front is ready, by what the runners answer."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest

from core.settings import Settings
from runners import clients
from runners.clients import Runners
from runners.messages import RunnerState

READY = RunnerState(ready=True, reason=None, checkpoint="starter")
LOADING = RunnerState(ready=False, loading=True, reason="its model is being loaded", checkpoint="starter")
FAILED = RunnerState(ready=False, reason="there is no such folder", checkpoint="starter")


@dataclass
class Proxy:
    """A runner that answers with `state`; without one it raises `error`."""

    state: RunnerState | None
    error: Exception = field(default_factory=ConnectionError)

    @property
    def to_async(self) -> Any:
        return self

    async def describe(self) -> RunnerState:
        if self.state is None:
            raise self.error
        return self.state


@pytest.fixture(autouse=True)
def _always_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "_STATE_MAX_AGE_SECONDS", 0.0)


def _front(default: RunnerState | None, other: RunnerState | None) -> tuple[Runners, Proxy, Proxy]:
    ace_step, musicgen = Proxy(default), Proxy(other)
    return Runners({"ace_step": ace_step, "musicgen": musicgen}, Settings()), ace_step, musicgen


def _reason(front: Runners) -> str | None:
    return asyncio.run(front.why_not_ready())


@pytest.mark.parametrize("other", [READY, LOADING, FAILED, None])
def test_the_default_backend_suffices(other: RunnerState | None) -> None:
    front, _, _ = _front(READY, other)
    assert _reason(front) is None


def test_nothing_takes_the_place_of_a_default_backend_that_is_still_loading() -> None:
    front, default, _ = _front(LOADING, READY)
    assert _reason(front) == "ace_step: its model is being loaded"
    default.state = READY
    assert _reason(front) is None


def test_another_backend_serves_where_the_default_one_failed_to_load() -> None:
    front, _, other = _front(FAILED, LOADING)
    assert _reason(front) == "ace_step: there is no such folder"
    other.state = READY
    assert _reason(front) is None


@pytest.mark.parametrize("later", [LOADING, FAILED, None])
def test_a_default_backend_that_starts_again_does_not_take_the_front_away(later: RunnerState | None) -> None:
    front, default, other = _front(READY, READY)
    assert _reason(front) is None
    default.state = later
    assert _reason(front) is None
    other.state = None
    assert str(_reason(front)).startswith("ace_step: ")


def test_a_runner_that_does_not_answer_is_given_time_to_start(monkeypatch: pytest.MonkeyPatch) -> None:
    front, _, _ = _front(None, READY)
    assert "does not answer" in str(_reason(front))
    monkeypatch.setattr(clients, "_LOADING_TIMEOUT_SECONDS", 0.0)
    assert _reason(front) is None


def test_a_runner_that_misses_one_answer_of_a_long_load_is_still_loading(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("runners.clients.time.monotonic", lambda: now[0])
    front, default, _ = _front(LOADING, READY)
    for state in (LOADING, None, LOADING, None):
        default.state = state
        now[0] += 90
        assert _reason(front)
    now[0] += 60
    assert _reason(front) is None


def test_a_ready_runner_may_answer_late_for_half_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("runners.clients.time.monotonic", lambda: now[0])
    front, default, _ = _front(READY, FAILED)
    assert _reason(front) is None
    default.state, default.error = None, TimeoutError()
    now[0] += 29
    assert _reason(front) is None
    now[0] += 1
    assert "does not answer (TimeoutError)" in str(_reason(front))
    default.state = READY
    assert _reason(front) is None
    default.state, default.error = None, ConnectionError()
    assert "does not answer (ConnectionError)" in str(_reason(front))


@pytest.mark.parametrize(
    "settings", [{"music_backend": "musicgen", "allow_noncommercial": False}, {"music_backend": "x"}]
)
def test_a_default_backend_that_is_not_enabled_does_not_hold_up_the_others(settings: dict[str, Any]) -> None:
    proxies = {"ace_step": Proxy(LOADING), "musicgen": Proxy(LOADING)}
    front = Runners(proxies, Settings(**settings))
    assert _reason(front) == f"{settings['music_backend']}: it is not enabled"
    proxies["ace_step"].state = READY
    assert _reason(front) is None
