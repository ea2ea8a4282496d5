"""Random damage to valid input of parsers."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

NUMBERS = [
    number.to_bytes(4, order)
    for number in (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 2**31 - 1, 2**32 - 8, 2**32 - 2, 2**32 - 1)
    for order in ("big", "little")
]
JSON_WORDS = (
    *(b"-1", b"0", b"1e400", b"NaN", b"99999999999999999999", b"null", b"true"),
    *(b"[]", b"{}", b"[0,0]", b"[[[[", b'"', b'""', b"\\u0000", b'"F64"'),
)

Place = Callable[[bytes, random.Random], int]


def near_an_end(data: bytes, source: random.Random) -> int:
    """A place near the start, where headers are; one time in four near the end, where MP4 and zip have an index."""
    place = source.randrange(max(1, min(source.choice([64, 300, 2000, len(data)]), len(data))))
    return max(0, len(data) - place - 1) if source.random() < 0.25 else place


def damaged(
    data: bytes,
    source: random.Random,
    place: Place = near_an_end,
    words: Sequence[bytes] = NUMBERS,
    most: int = 8,
) -> bytes:
    """The data with 1 to `most` changes: bytes changed, cut out or doubled, numbers or words put in, the end cut off.

    Args:
        data: valid input.
        source: decides on the changes.
        place: chooses where to make the next change.
        words: text that readers of the format may fail on.
        most: the largest number of changes.
    """
    changed = bytearray(data)
    for _ in range(source.randint(1, most)):
        at = place(bytes(changed), source)
        match source.randrange(6):
            case 0:
                changed[at : at + 1] = bytes([source.randrange(256)])
            case 1:
                del changed[at : at + source.randrange(1, 64)]
            case 2:
                changed[at:at] = changed[at : at + source.randrange(1, 64)]
            case 3:
                changed[at : at + 4] = source.choice(NUMBERS)
            case 4:
                word = source.choice(words)
                changed[at : at + source.choice([0, len(word)])] = word
            case 5 if source.random() < 0.2:
                del changed[at:]
    return bytes(changed)
