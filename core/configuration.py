"""Loads configuration.yaml, so that every way of serving uses it."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import yaml

from core import supervision, traces
from core.settings import ROOT, settings


@lru_cache(maxsize=1)
def _services() -> dict[str, dict[str, Any]]:
    document = yaml.safe_load((ROOT / "configuration.yaml").read_text())
    services: dict[str, dict[str, Any]] = document["services"]
    return services


def service_config(name: str) -> dict[str, Any]:
    """The section of one service, as `bentoml.service` takes it.

    BentoML reads such a file by itself only where `BENTOML_CONFIG` names it, and plain `bentoml serve` does not.

    Raises:
        KeyError: there is no section; every service has one, so that an operator finds it.
    """
    supervision.secure()  # no service is made without its section
    return {"name": name} | _services()[name] | traces.service_section(settings())
