"""The generated files of the Python client are current (`python -m clients.python.generate`)."""

from __future__ import annotations

from clients.python.generate import PACKAGE, generated


def test_they_are_current() -> None:
    files = generated()
    stale = [str(path.relative_to(PACKAGE)) for path, text in files.items() if path.read_text() != text]
    assert not stale, f"run python -m clients.python.generate: {', '.join(stale)}"
    assert set((PACKAGE / "_sync").glob("*.py")) <= files.keys()
