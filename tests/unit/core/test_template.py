"""Template processes: their children's exit statuses, and what ends when."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from core.errors import Refusal
from core.sandbox import Sandbox
from core.settings import ROOT
from core.template import Child, Template
from core.template.client import PID, STATUS
from tests import hostile_calls as calls
from tests.api import wait_until
from tests.unit.core.test_sandbox import LIMITS


def _template(serve: str = "serve", prepare: str = "load") -> Template:
    return Template("is tested", serve=f"tests.forked_work:{serve}", prepare=f"tests.forked_work:{prepare}")


@contextmanager
def _forked(template: Template) -> Iterator[tuple[Child, socket.socket, socket.socket]]:
    """A child, the socket to it, and the one on which its exit status comes."""
    (client, clients_end), (status, observers_end) = socket.socketpair(), socket.socketpair()
    child = Child()
    with client, status:
        with clients_end, observers_end:
            template.fork(clients_end, observers_end)
        child.identify(client.recv(PID.size))
        yield child, client, status
        child.close()


@pytest.fixture(scope="module")
def template() -> Iterator[Template]:
    made = _template()
    yield made
    made.close()


def test_children_tell_their_exit_status_each_its_own(template: Template) -> None:
    with _forked(template) as (_, first, first_status), _forked(template) as (_, second, second_status):
        second.send(b"4")
        assert STATUS.unpack(second_status.recv(STATUS.size)) == (4,)
        first.send(b"3")
        assert STATUS.unpack(first_status.recv(STATUS.size)) == (3,)
        assert first_status.recv(1) == b""


def test_a_killed_child_tells_the_signal(template: Template) -> None:
    with _forked(template) as (child, _, status):
        child.send_signal(signal.SIGKILL)
        assert STATUS.unpack(status.recv(STATUS.size)) == (-signal.SIGKILL,)
        child.send_signal(signal.SIGTERM)  # nobody is there


def test_an_observed_child_outlives_its_template() -> None:
    template = _template()
    with _forked(template) as (child, client, status):
        template.close()
        assert psutil.pid_exists(child.pid)
        client.send(b"0")
        assert status.recv(STATUS.size) == b""  # nobody is left to tell its status
        wait_until(lambda: not psutil.pid_exists(child.pid), 10)


def test_a_template_with_threads_is_refused(capfd: pytest.CaptureFixture[str]) -> None:
    sandbox = Sandbox("tests.forked_work:load_with_a_thread")
    with pytest.raises(Refusal, match="cannot be started"):
        sandbox.call(LIMITS, calls.double, 1)
    sandbox.close()
    assert "has started threads" in capfd.readouterr().err


def test_a_call_ends_with_its_killed_client_though_the_template_is_anothers(tmp_path: Path) -> None:
    program = (
        "import os, sys; from pathlib import Path; from core.sandbox import Limits, Sandbox\n"
        "from tests import hostile_calls as calls\n"
        "limits = Limits(2**28, 60, 60)\n"
        "made = Sandbox('tests.hostile_calls:load')\n"
        "made.start()\n"
        "if not os.fork(): made.call(limits, calls.sleep_for_ever, Path(sys.argv[1]))\n"
        "os.wait()\n"
        "sys.stdin.read()\n"
        "assert made.call(limits, calls.double, 2) == 4\n"
        "made.close()"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "pid")]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE) as owner:
        wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text(), 60)
        (caller,) = (
            each for each in psutil.Process(owner.pid).children() if "core.template.process" not in each.cmdline()
        )
        caller.kill()
        wait_until(lambda: not psutil.pid_exists(int((tmp_path / "pid").read_text())), 10)
        owner.communicate()
    assert not owner.returncode
