"""Functions that misbehave as parsers of hostile files do. The tests call them in the sandbox."""

from __future__ import annotations

import io
import os
import signal
import time
from pathlib import Path

from core.errors import Refusal


def load() -> None:
    """Prepare the template."""


def load_alone() -> None:
    """Prepare another template: a template is shared by calls with the same preparation."""


def double(number: int) -> int:
    return 2 * number


def head_of(file: io.FileIO) -> bytes:
    file.seek(0)
    return file.read(4)


def loop_for_ever(witness: Path) -> None:
    """Writes its process id first."""
    witness.write_text(str(os.getpid()))
    while True:
        pass


def sleep_for_ever(witness: Path) -> None:
    witness.write_text(str(os.getpid()))
    while True:
        time.sleep(60)


def take(size: int) -> int:
    return len(bytes(size))


def crash() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


class Unreadable(Exception):
    """An exception that pickle writes but cannot read."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


def refuse() -> None:
    raise Unreadable(1, 2)


def refuse_with_status() -> None:
    raise Refusal(413, "file: it is too large", 7)


def give_lambda() -> object:
    return lambda: None
