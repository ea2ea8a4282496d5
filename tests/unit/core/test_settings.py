"""Settings: where they are read from, and the tables that are generated from them."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from core.settings import Settings
from scripts import settings_table


def test_an_empty_variable_is_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAX_BODY_BYTES", "")
    monkeypatch.setenv("KEEP_UPLOADS_DAYS", "2")
    read = Settings()
    assert read.max_body_bytes == Settings.model_fields["max_body_bytes"].default
    assert read.keep_uploads_days == 2


def test_a_storage_of_another_kind_is_refused() -> None:
    with pytest.raises(ValidationError, match="STORAGE_URL"):
        Settings(storage_url="http://x/y")


def test_every_setting_has_a_row_and_a_description() -> None:
    lines = settings_table.markdown().splitlines()
    rows = [line for line in lines if line.startswith("| `")]
    assert [row.split("`")[1] for row in rows] == [name.upper() for name in Settings.model_fields]
    assert all(field.description for field in Settings.model_fields.values())
    assert all(row.endswith(". |") for row in rows)
    assert "| `MAX_BODY_BYTES` | `100663296` (96 MiB) | Size in bytes of the largest JSON body. |" in rows
    assert lines[0] == "## Storage"
