"""Messages between client and child: pickles, with open files passed as descriptors."""

from __future__ import annotations

import io
import pickle  # nosec B403
import struct
from dataclasses import dataclass
from typing import Any

# Precedes each pickle: its length in bytes.
LENGTH = struct.Struct("<Q")
MAX_FILES = 8


@dataclass(frozen=True)
class Limits:
    """The limits of one call.

    Attributes:
        memory: bytes of address space, beyond those of the template.
        cpu_seconds: processor time.
        seconds: wall-clock time.
        niceness: lowers the priority against other processes, 0 to 19, as nice(1) does.
    """

    memory: int
    cpu_seconds: int
    seconds: float
    niceness: int = 0


class Exceeded(Exception):
    """The call reached a limit, or its process crashed. The message continues "beat.wav: "."""


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
    """The value as a pickle, and the descriptors of its `io.FileIO` objects."""
    buffer = io.BytesIO()
    pickler = _Pickler(buffer)
    pickler.dump(value)
    return buffer.getvalue(), pickler.descriptors


def loads(data: bytes, descriptors: list[int]) -> Any:
    """The value of a pickle, with its files open on these descriptors."""
    return _Unpickler(data, descriptors).load()
