"""Makes text that a client sent safe to repeat in messages and logs."""

from __future__ import annotations

MAX_SHOWN = 200


def printable(text: str, instead: str = "?") -> str:
    """The text with `instead` for each unprintable character, such as a terminal's control codes."""
    return "".join(character if character.isprintable() else instead for character in text)


def shown(text: str, most: int = MAX_SHOWN) -> str:
    """The text as at most `most` printable characters."""
    text = printable(text[: most + 1])
    return text if len(text) <= most else text[: most - 1] + "…"
