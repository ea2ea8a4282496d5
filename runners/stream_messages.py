"""The messages of a stream, from a runner to the front: a track's samples, piece by piece, and the answer at its end.

A message is the length of its content, four bytes long, and the content. Samples have a length of at least 1; after a
length of 0 comes the message with the answer. BentoML ends a stream of which the runner fails like one that is
complete, so that only the answer says that it is.
"""

from __future__ import annotations

import struct
from collections.abc import AsyncGenerator, AsyncIterable

import numpy as np
from numpy.typing import NDArray

from runners.messages import TrackAnswer

_LENGTH = struct.Struct(">I")


def samples_message(samples: NDArray[np.float32]) -> bytes:
    """Samples `[channels, samples]` as a message."""
    data = np.ascontiguousarray(samples.T, "<f4").tobytes()
    return _LENGTH.pack(len(data)) + data


def answer_message(answer: TrackAnswer) -> bytes:
    """The answer at the end: without samples, or with the error."""
    data = answer.model_dump_json().encode()
    return _LENGTH.pack(0) + _LENGTH.pack(len(data)) + data


async def messages(received: AsyncIterable[bytes]) -> AsyncGenerator[bytes | TrackAnswer, None]:
    """The messages of a stream that arrives in any chunks: samples, interleaved little-endian floats, then the answer.

    Raises:
        EOFError: the stream ended before the answer.
    """
    buffer = bytearray()
    is_answer = False
    async for chunk in received:
        buffer += chunk
        while len(buffer) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(buffer)
            end = _LENGTH.size + length
            if len(buffer) < end:
                break
            content = bytes(buffer[_LENGTH.size : end])
            del buffer[:end]
            if is_answer:
                yield TrackAnswer.model_validate_json(content)
                return
            if length:
                yield content
            is_answer = not length
    raise EOFError("the stream has no end")
