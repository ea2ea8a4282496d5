"""The app's strings: each language has every message, with the same arguments and tags."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from scripts.web import WEB

LANGUAGES = sorted(path.stem for path in (WEB / "messages").glob("*.json"))


def messages(language: str) -> dict[str, str]:
    return dict(flat(json.loads((WEB / "messages" / f"{language}.json").read_text())))


def flat(node: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in node.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def slots(message: str) -> set[str]:
    """Arguments (`{steps}`, `{count, plural, …}`) and tags (`<link>`) of an ICU message."""
    found = set(re.findall(r"<\w+>", message))
    inside = ["text"]  # in an argument, a brace begins text; in text, it begins an argument
    for at, character in enumerate(message):
        if character == "{" and inside[-1] == "text":
            inside.append("argument")
            found.add(re.split("[,}]", message[at + 1 :], maxsplit=1)[0].strip())
        elif character == "{":
            inside.append("text")
        elif character == "}":
            inside.pop()
    return found


def test_there_are_english_and_german() -> None:
    assert LANGUAGES == ["de", "en"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_language_is_complete(language: str) -> None:
    english, own = messages("en"), messages(language)
    assert own.keys() == english.keys()
    assert [key for key, message in own.items() if not message.strip()] == []
    assert {key: slots(message) for key, message in own.items()} == {
        key: slots(message) for key, message in english.items()
    }
