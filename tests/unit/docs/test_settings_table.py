"""docs/settings.md has the settings as they are in core/settings.py."""

from __future__ import annotations

from core.settings import Settings
from scripts.settings_table import MARK, PAGE, page


def test_the_page_is_generated_from_the_settings() -> None:
    assert MARK in PAGE.read_text()
    assert PAGE.read_text() == page(), "run `make docs/settings.md`"


def test_every_setting_is_in_it_once() -> None:
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    described = [name for name, field in Settings.model_fields.items() if field.description]
    assert sorted(row.split("`")[1] for row in rows) == sorted(name.upper() for name in described)
