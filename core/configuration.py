"""Loads configuration.yaml, so that every way to start a service uses it."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import yaml

from core import supervision, traces
from core.settings import ROOT, settings


@lru_cache(maxsize=1)
def _services() -> dict[str, dict[str, Any]]:
    return yaml.safe_load((ROOT / "configuration.yaml").read_text())["services"]


def service_config(name: str) -> dict[str, Any]:
    """The keyword arguments of `bentoml.service` for one service.

    BentoML itself reads such a file only if `BENTOML_CONFIG` names it, which plain `bentoml serve` does not need here.

    Raises:
        KeyError: configuration.yaml has no section for the service.
    """
    supervision.secure()  # here, since every service is made with its section
    return {"name": name} | _services()[name] | traces.service_section(settings())
