"""The template of training processes: it can be forked, and holds nothing of a device."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys

import psutil
import pytest
import torch

from core.settings import ROOT
from training.jobs.fork import ForkLauncher

_PROGRAM = """
import json, os
import torch

asked = []
def record(name):
    original = getattr(torch.cuda, name)
    setattr(torch.cuda, name, lambda *arguments, **named: asked.append(name) or original(*arguments, **named))
for name in ("init", "_lazy_init", "current_device", "get_device_properties", "get_device_capability", "mem_get_info"):
    record(name)

from core.template.process import count_threads
from preprocessing.isolation import ANALYSIS, DECODING
from training import warm

warm.load()
print(json.dumps([count_threads(), torch.cuda.is_initialized(), asked]))
ANALYSIS.close()
DECODING.close()
"""


@pytest.mark.slow
def test_the_template_starts_no_threads_and_asks_no_device() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    result = subprocess.run(
        [sys.executable, "-c", _PROGRAM],
        cwd=ROOT,
        env=environment | {"OPENBLAS_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        check=True,
    )
    assert json.loads(result.stdout.splitlines()[-1]) == [1, False, []]


@pytest.mark.slow
def test_without_a_template_a_job_is_a_new_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    """A library that starts a thread when it is imported keeps the template from starting."""
    monkeypatch.setattr("training.jobs.launch.command", lambda *_: [sys.executable, "-c", "raise SystemExit(3)"])

    async def run() -> str | None:
        launcher = ForkLauncher("tests.forked_work:load_with_a_thread")
        try:
            return await (await launcher.start("job", 0)).wait()
        finally:
            launcher.close()

    assert asyncio.run(run()) == "the training process ended with status 3; its log says more"


def test_a_template_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.jobs.launch.command", lambda *_: [sys.executable, "-c", "raise SystemExit(3)"])
    monkeypatch.setattr("training.jobs.fork.START_SECONDS", 0.5)

    async def run() -> str | None:
        launcher = ForkLauncher("tests.forked_work:hang")
        try:
            return await (await launcher.start("job", 0)).wait()
        finally:
            launcher.close()

    assert "status 3" in str(asyncio.run(run()))
    assert not [child for child in psutil.Process().children() if "tests.forked_work:hang" in child.cmdline()]


@pytest.mark.slow
@pytest.mark.parametrize("gpus", [0, 1])
def test_a_job_imports_for_itself_where_a_gpu_was_asked_in_the_template(
    monkeypatch: pytest.MonkeyPatch, gpus: int
) -> None:
    """As where NVML is missing; CUDA cannot be used in a fork of that process, which matters only with a GPU."""
    from training import warm

    executed: list[list[str]] = []
    ran: list[tuple[str, int]] = []

    def execute(path: str, arguments: list[str]) -> None:
        executed.append(arguments)
        raise SystemExit

    def run_attempt(job_id: str, attempt: int) -> int:
        ran.append((job_id, attempt))
        raise SystemExit

    monkeypatch.setattr(torch.cuda, "_is_in_bad_fork", lambda: True)
    monkeypatch.setattr(warm, "_count_gpus", lambda: gpus)
    monkeypatch.setattr(warm, "set_name", lambda _: None)
    monkeypatch.setattr("training.run.run_attempt", run_attempt)
    monkeypatch.setattr(os, "execv", execute)
    ours, theirs = socket.socketpair()
    with ours:
        ours.send(b'["job", 2]')
        with pytest.raises(SystemExit):
            warm.serve(theirs)
    assert executed == ([[sys.executable, "-m", "training.run", "job", "2"]] if gpus else [])
    assert ran == ([] if gpus else [("job", 2)])
