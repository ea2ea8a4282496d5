"""URLs of the service."""

from __future__ import annotations

from urllib.parse import quote

_OUTPUTS = "/data/outputs/"


def path_of(template: str, **parameters: str) -> str:
    """The path with each `{parameter}` replaced by its quoted value."""
    return template.format(**{name: quote(value, safe=":@") for name, value in parameters.items()})


def track_id_of(stored: str) -> str:
    """The id of a stored track, by its `output_path`."""
    return stored.removeprefix(_OUTPUTS).rpartition(".")[0].replace("/", ":")


def output_path(stored: str) -> str:
    """The path of a stored track, named by its `output_path` or by the part after `/data/outputs/`."""
    return _OUTPUTS + quote(stored.removeprefix(_OUTPUTS), safe="/:@")
