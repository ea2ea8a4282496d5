"""The messages between client and child: pickles, with open files passed as descriptors."""

from __future__ import annotations

import io
import pickle  # nosec B403
import struct
from dataclasses import dataclass
from typing import Any

# The length of a pickle in bytes, before it.
LENGTH = struct.Struct("<Q")
PID = struct.Struct("<i")
MAX_FILES = 8


@dataclass(frozen=True)
class Limits:
    """What one call may take.

    Attributes:
        memory: bytes of address space beyond the template's own.
        cpu_seconds: processor time, rounded up to whole seconds by the kernel.
        seconds: duration by the clock.
        niceness: how far the call stands back behind other work, 0 to 19.
    """

    memory: int
    cpu_seconds: int
    seconds: float
    niceness: int = 0


class Exceeded(Exception):
    """The call took more than its limits, or its process crashed. The message completes "beat.wav: …"."""


class _Pickler(pickle.Pickler):
    def __init__(self, buffer: io.BytesIO) -> None:
        super().__init__(buffer, protocol=pickle.HIGHEST_PROTOCOL)
        self.descriptors: list[int] = []

    def persistent_id(self, value: Any) -> int | None:
        if not isinstance(value, io.FileIO):
            return None
        self.descriptors.append(value.fileno())
        return len(self.descriptors) - 1


class _Unpickler(pickle.Unpickler):
    def __init__(self, data: bytes, descriptors: list[int]) -> None:
        super().__init__(io.BytesIO(data))
        self.descriptors = descriptors

    def persistent_load(self, number: int) -> io.FileIO:
        return io.FileIO(self.descriptors[number], "r+")


def dumps(value: Any) -> tuple[bytes, list[int]]:
    """A pickle, and the descriptors of the `io.FileIO` objects in the value."""
    buffer = io.BytesIO()
    pickler = _Pickler(buffer)
    pickler.dump(value)
    return buffer.getvalue(), pickler.descriptors


def loads(data: bytes, descriptors: list[int]) -> Any:
    """The value, with its files open on these descriptors."""
    return _Unpickler(data, descriptors).load()
