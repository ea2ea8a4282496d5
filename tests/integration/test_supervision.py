"""BentoML's processes are reached through the front alone, and none outlives its supervisor."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from core.settings import ROOT
from scripts.serving import Server, serving
from tests.api import ACE_STEP_ONLY, Api, beat, command_of, running, trainings, wait_until

pytestmark = pytest.mark.long

END_SECONDS = 5.0


def tree(server: Server) -> list[psutil.Process]:
    supervisor = psutil.Process(server.process.pid)
    return [supervisor, *supervisor.children(recursive=True)]


def lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def sockets_of(server: Server) -> tuple[set[tuple[str, int]], set[Path]]:
    """The addresses and the Unix sockets on which the server's processes listen."""
    addresses, names = set(), set()
    for process in tree(server):
        for each in process.net_connections("all"):
            if each.family == socket.AF_UNIX:
                names |= {Path(each.laddr)} if each.laddr else set()
            elif each.type == socket.SOCK_DGRAM or each.status == psutil.CONN_LISTEN:
                addresses.add(tuple(each.laddr))
    return addresses, names


def is_private(name: Path) -> bool:
    """Whether a Unix socket is in a folder that only its owner may enter; not so for one in the abstract namespace."""
    folder = name.parent.stat()
    return name.is_absolute() and folder.st_uid == os.getuid() and not stat.S_IMODE(folder.st_mode) & 0o077


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory, tiny: dict[str, str]) -> Iterator[Server]:
    """A runner as a service of its own, for fronts on other machines."""
    with serving(tmp_path_factory.mktemp("runner"), tiny, ["runners.ace_step:AceStepRunner"]) as server:
        yield server


@pytest.mark.parametrize("which", ["api", "runner"])
def test_nobody_else_reaches_a_process_but_by_the_front(which: str, request: pytest.FixtureRequest) -> None:
    found = request.getfixturevalue(which)
    server: Server = found.server if isinstance(found, Api) else found
    addresses, names = sockets_of(server)
    assert addresses == {("127.0.0.1", int(server.url.rpartition(":")[2]))}
    supervisors = [name for name in names if name.name == "control"]
    assert len(supervisors) == 1, names
    assert all(map(is_private, names)), names


def test_no_process_outlives_its_killed_supervisor(tmp_path: Path, tiny: dict[str, str]) -> None:
    """Except a training, which goes on to its end."""
    with running(tmp_path, tiny | ACE_STEP_ONLY, ("ace_step",)) as api:
        path = api.upload("ada", beat(8))
        api.post("/train/submit", producer_id="ada", upload_paths=[path], job_id="job", max_steps=100_000)
        wait_until(lambda: api.get("/jobs/job")["step"])
        processes = tree(api.server)
        (trainer,) = trainings(psutil.Process(api.server.process.pid))
        training = [trainer, *trainer.children(recursive=True)]
        api.process("AceStepRunner").suspend()  # a process that hangs
        api.server.process.send_signal(signal.SIGKILL)
        try:
            wait_until(lambda: not [each for each in processes if each not in training and lives(each)], END_SECONDS)
            assert lives(trainer)
        finally:
            trainer.kill()


def test_a_server_ends_with_the_killed_process_that_started_it(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from scripts.serving import serving\n"
        "with serving(Path(sys.argv[1])): pass"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT) as starter:

        def servers() -> list[psutil.Process]:
            children = psutil.Process(starter.pid).children(recursive=True)
            return [each for each in children if "bentoml" in " ".join(command_of(each))]

        wait_until(lambda: len(servers()) > 1)  # the supervisor and a worker
        started = servers()
        starter.kill()
        # A worker that has just started looks for its supervisor once it has imported the service.
        wait_until(lambda: not any(map(lives, started)))


def test_a_worker_ends_with_its_supervisor_where_the_kernel_does_not_see_to_it(tmp_path: Path) -> None:
    """As on macOS. A worker whose supervisor has ended before it looks ends as well."""
    code = (
        "import os, sys, time; sys.platform = 'darwin'; from core import supervision\n"
        "supervision.end_with_parent({parent}); print(os.getpid(), flush=True); time.sleep(60)"
    )
    orphan = subprocess.run([sys.executable, "-c", code.format(parent=1)], cwd=ROOT, stdout=subprocess.DEVNULL)
    assert orphan.returncode == -signal.SIGKILL
    worker = [sys.executable, "-c", code.format(parent="os.getppid()")]
    starts_it = f"import subprocess; subprocess.run({worker!r})"
    with subprocess.Popen([sys.executable, "-c", starts_it], cwd=ROOT, stdout=subprocess.PIPE) as supervisor:
        assert supervisor.stdout
        child = psutil.Process(int(supervisor.stdout.readline()))
        assert lives(child)
        supervisor.kill()
        wait_until(lambda: not lives(child), END_SECONDS)
