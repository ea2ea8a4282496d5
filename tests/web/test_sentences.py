"""The service's sentences on the pages: the frequent ones in the user's language, the others marked as English."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Browser, expect

from core.settings import ROOT
from scripts.web import WEB

SERVICE = (
    "adapters",
    "api",
    "contract",
    "core",
    "generation",
    "models",
    "preprocessing",
    "runners",
    "storage",
    "training",
)
Pieces = tuple[str, ...]


def sentences() -> dict[str, str]:
    source = (WEB / "lib" / "serviceSentences.ts").read_text()
    table = source[source.index("= {\n") : source.index("\n};")]
    return dict(re.findall(r'^  (\w+): "(.+)",$', table, re.MULTILINE))


def of_service() -> Iterator[Pieces]:
    """The texts in the service's source, without what stands in braces."""
    for package in SERVICE:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.JoinedStr):
                    yield tuple(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield (node.value,)


def test_the_service_says_each_of_them() -> None:
    said = {"".join(pieces) for pieces in of_service()}
    known = sentences()
    assert len(known) == len(json.loads((WEB / "messages" / "en.json").read_text())["service"])
    assert [name for name, text in known.items() if re.sub(r"\{\w+\}", "{}", text) not in said] == []


@pytest.mark.parametrize(
    ("error", "shown", "language"),
    [
        ("the storage cannot be reached; try again later", "Der Speicher ist nicht erreichbar.", None),
        (
            "more than 5 requests a minute; try again in 7 s",
            "Mehr als 5 Anfragen in der Minute. Versuche es in 7 s",
            None,
        ),
        ("lora_id: there is no twin ada:night", "Den Twin ada:night gibt es nicht.", None),
        ("lora_id: it is odd; send another", "Twin: it is odd; send another", "en"),
        ("it is odd", "it is odd", "en"),
    ],
)
def test_a_sentence_on_the_german_page(
    browser: Browser, alone: httpx.Client, error: str, shown: str, language: str | None
) -> None:
    context = browser.new_context(locale="de-DE")
    page = context.new_page()
    page.route(re.compile(r"/api/service/tracks\b"), lambda route: route.fulfill(status=400, json={"error": error}))
    page.goto(f"{alone.base_url}/library")
    alert = page.get_by_role("alert").filter(has_text=shown)
    expect(alert).to_be_visible(timeout=60_000)
    marked = alert.locator("[lang=en]")
    expect(marked).to_have_count(1 if language else 0)
    context.close()
