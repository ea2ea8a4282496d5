"""A real S3 server for tests: SeaweedFS, from PyPI. Import the fixture `s3_server` where it is needed."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from scripts.serving import kill_with_this_process
from tests.api import PATIENCE

ACCESS, SECRET, BUCKET = "test", "testsecret", "twins"
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": ACCESS,
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "AWS_DEFAULT_REGION": "us-east-1",
}


@dataclass
class S3Server:
    """A server that can be killed, and started again with the same objects."""

    endpoint: str
    command: list[str]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    release: Callable[[], None] = lambda: None

    def start(self) -> None:
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self.command, stdout=output, stderr=output, env=os.environ | CREDENTIALS, start_new_session=True
            )
        self.release = kill_with_this_process(self.process)
        _wait_until_it_writes(self)

    def kill(self) -> None:
        if self.process:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.release()
            self.process = None

    def url(self, prefix: str) -> str:
        """The STORAGE_URL of a prefix of the bucket."""
        return f"s3://{BUCKET}/{prefix}"


@contextmanager
def serve_s3() -> Iterator[S3Server]:
    """Run a server on free ports of the loopback, with an empty bucket."""
    weed = Path(sys.executable).with_name("weed")
    folder = tempfile.mkdtemp(prefix="s3-")
    s3, master, volume, filer = _free_ports(4)
    command = [
        *(str(weed), "mini", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-bucket={BUCKET}"),
        *(f"-s3.port={s3}", f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}"),
        *("-s3.port.iceberg=0", "-s3.port.lance=0", "-webdav=false", "-admin.ui=false"),
        "-master.telemetry=false",
    ]
    server = S3Server(f"http://127.0.0.1:{s3}", command, Path(folder, "log"))
    try:
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """A running server whose credentials are in the environment."""
    with pytest.MonkeyPatch.context() as environment:
        for name, value in CREDENTIALS.items():
            environment.setenv(name, value)
        with serve_s3() as server:
            yield server


def _free_ports(count: int) -> list[int]:
    """Ports that are free, and so are those 10,000 higher, where SeaweedFS puts its gRPC.

    All are below the range of outgoing connections, so that none takes one while the server is down.
    """
    found: list[int] = []
    while len(found) < count:
        port = random.randint(20_000, 22_500)
        if port not in found and _free(port) and _free(port + 10_000):
            found.append(port)
    return found


def _free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _wait_until_it_writes(server: S3Server) -> None:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    client = boto3.session.Session(ACCESS, SECRET, region_name="us-east-1").client(
        "s3",
        endpoint_url=server.endpoint,
        config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
    )
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            client.put_object(Bucket=BUCKET, Key="ready", Body=b"")
            return
        except (BotoCoreError, ClientError) as error:
            if time.monotonic() > deadline or server.process is None or server.process.poll() is not None:
                raise RuntimeError(f"SeaweedFS did not start: {server.log.read_text()[-2000:]}") from error
            time.sleep(0.1)
