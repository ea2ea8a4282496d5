"""The sandbox: whatever a call does, its caller gets an answer in time, and no process is left."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from api.capacity.parsing import Parser
from core.errors import Refusal
from core.sandbox import Exceeded, Limits, Sandbox
from tests import hostile_calls as calls
from tests.api import wait_until

LIMITS = Limits(memory=256 * 2**20, cpu_seconds=2, seconds=10)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    made = Sandbox("tests.hostile_calls:load")
    made.call(LIMITS, calls.double, 1)
    yield made
    made.close()


def ended(witness: Path) -> bool:
    """Whether the process that wrote its id to the file has ended."""
    return not psutil.pid_exists(int(witness.read_text()))


@pytest.mark.slow
def test_a_call_returns_raises_and_takes_files(sandbox: Sandbox, tmp_path: Path) -> None:
    assert sandbox.call(LIMITS, calls.double, 21) == 42
    (tmp_path / "file").write_bytes(b"RIFFxxxx")
    with open(tmp_path / "file", "rb", buffering=0) as file:
        assert sandbox.call(LIMITS, calls.head_of, file) == b"RIFF"
        assert sandbox.call(LIMITS, calls.head_of, file) == b"RIFF"
    big = os.urandom(8 * 2**20)
    assert sandbox.call(LIMITS, bytes.upper, big) == big.upper()
    with pytest.raises(RuntimeError, match="Unreadable: 1 and 2"):
        sandbox.call(LIMITS, calls.refuse)
    with pytest.raises((RuntimeError, AttributeError)):
        sandbox.call(LIMITS, calls.give_lambda)
    with pytest.raises(Refusal) as refusal:
        sandbox.call(LIMITS, calls.refuse_with_status)
    assert (refusal.value.status, refusal.value.message, refusal.value.wait) == (413, "file: it is too large", 7)


@pytest.mark.slow
@pytest.mark.parametrize("function", [calls.loop_for_ever, calls.sleep_for_ever])
def test_what_does_not_end_is_ended(sandbox: Sandbox, tmp_path: Path, function: object) -> None:
    start = time.monotonic()
    with pytest.raises(Exceeded, match=r"too (long|much time)"):
        sandbox.call(Limits(LIMITS.memory, cpu_seconds=1, seconds=3), function, tmp_path / "pid")  # type: ignore[arg-type]
    assert time.monotonic() - start < 30
    wait_until(lambda: ended(tmp_path / "pid"), 10)


def test_memory_and_crashes_are_answers(sandbox: Sandbox) -> None:
    assert sandbox.call(LIMITS, calls.take, 200 * 2**20) == 200 * 2**20
    with pytest.raises(Exceeded, match="memory"):
        sandbox.call(LIMITS, calls.take, 2**30)
    with pytest.raises(Exceeded, match="crash"):
        sandbox.call(LIMITS, calls.crash)
    assert sandbox.call(LIMITS, calls.double, 1) == 2


def test_cancelling_ends_the_child(sandbox: Sandbox, tmp_path: Path) -> None:
    async def leave() -> None:
        task = asyncio.ensure_future(sandbox.run(LIMITS, calls.sleep_for_ever, tmp_path / "pid"))
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
            await asyncio.sleep(0.01)
        assert not ended(tmp_path / "pid")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(leave())
    wait_until(lambda: ended(tmp_path / "pid"), 10)


@pytest.mark.slow
def test_a_template_that_was_killed_is_made_anew() -> None:
    made = Sandbox("tests.hostile_calls:load_alone")
    assert made.call(LIMITS, calls.double, 1) == 2
    (template,) = (child for child in psutil.Process().children() if child.cmdline()[-1].endswith(":load_alone"))
    template.kill()
    wait_until(lambda: not template.is_running() or template.status() == psutil.STATUS_ZOMBIE, 10)
    assert made.call(LIMITS, calls.double, 2) == 4
    made.close()


def test_a_template_that_cannot_start_is_the_services_fault() -> None:
    with pytest.raises(Refusal, match="cannot be started") as refusal:
        Sandbox("tests.hostile_calls:there_is_no_such_function").call(LIMITS, calls.double, 1)
    assert refusal.value.status == 503


@pytest.mark.slow
def test_nothing_outlives_a_caller_that_is_killed(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from core.sandbox import Limits, Sandbox\n"
        "from tests import hostile_calls as calls\n"
        "made = Sandbox('tests.hostile_calls:load')\n"
        "made.call(Limits(2**28, 60, 60), calls.sleep_for_ever, Path(sys.argv[1]))"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "pid")]) as caller:
        wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text(), 60)
        (template,) = psutil.Process(caller.pid).children()
        caller.kill()
    wait_until(lambda: ended(tmp_path / "pid") and not template.is_running(), 10)


def test_one_principal_waits_behind_itself_and_not_before_others(sandbox: Sandbox) -> None:
    """Each principal has one of two slots, so a principal with many calls leaves the other slot free."""
    from core.principal import Principal, acting

    parser = Parser(sandbox, LIMITS, at_once=2, each=1)
    order: list[str] = []

    async def ask(who: str) -> None:
        with acting(Principal(who)):
            await parser.run(time.sleep, 0.2)
        order.append(who)

    async def all_of_them() -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(6):
                group.create_task(ask("greedy"))
            group.create_task(ask("modest"))

    asyncio.run(all_of_them())
    assert order.index("modest") <= 2
