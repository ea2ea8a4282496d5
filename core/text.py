"""Text of clients, as messages and logs may repeat it."""

from __future__ import annotations

MAX_SHOWN = 200


def printable(text: str, instead: str = "?") -> str:
    """The text with `instead` in place of each character that does not print, such as one that steers a terminal."""
    return "".join(character if character.isprintable() else instead for character in text)


def shown(text: str, most: int = MAX_SHOWN) -> str:
    """The text in at most `most` printable characters."""
    text = printable(text[: most + 1])
    return text if len(text) <= most else text[: most - 1] + "…"
