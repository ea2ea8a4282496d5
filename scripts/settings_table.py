"""Prints the tables of docs/settings.md, one for each group of settings: `python -m scripts.settings_table`."""

from __future__ import annotations

import json
from typing import Any

from pydantic.fields import FieldInfo

from core.settings import ROOT, Settings, SettingsGroup

_UNITS = {"GiB": 2**30, "MiB": 2**20}


def markdown() -> str:
    """A heading and a table (environment variable, default, description) for each group, in Markdown."""
    return "\n\n".join(_section(group) for group in reversed(Settings.__bases__) if issubclass(group, SettingsGroup))


def _section(group: type[SettingsGroup]) -> str:
    rows = [
        f"| `{name.upper()}` | {_default(name, field)} | {field.description} |"
        for name, field in group.model_fields.items()
        if field.description
    ]
    return "\n".join([f"## {group.__doc__}", "", "| variable | default | meaning |", "|---|---|---|", *rows])


def _default(name: str, field: FieldInfo) -> str:
    value: Any = field.get_default(call_default_factory=True)
    if value is None:
        return "unset"
    if isinstance(value, str):
        return f"`{value.replace(str(ROOT), '/<project>')}`"
    text = f"`{json.dumps(value).removesuffix('.0')}`"
    if name.endswith("_bytes"):
        unit, size = next((unit, size) for unit, size in _UNITS.items() if value >= size)
        text += f" ({value // size} {unit})"
    return text


if __name__ == "__main__":
    print(markdown())
