"""The results as one JSON file and one Markdown page."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import diffusers
import peft
import torch
import transformers

from verification.check import Result

JSON_FILE, PAGE_FILE = "verification.json", "verification.md"


def machine(device: torch.device) -> dict[str, Any]:
    """The machine and the versions of the libraries."""
    libraries = {module.__name__: module.__version__ for module in (torch, transformers, diffusers, peft)}
    facts: dict[str, Any] = {
        "device": str(device),
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
        **libraries,
    }
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        facts |= {
            "gpu": properties.name,
            "gpu_bytes": properties.total_memory,
            "compute_capability": f"{properties.major}.{properties.minor}",
            "cuda": torch.version.cuda,
        }
    return facts


def write(folder: Path, facts: dict[str, Any], results: Sequence[Result]) -> None:
    """Write both files into the folder, which is made if it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    document = {
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        **facts,
        "counts": counts(results),
        "checks": [_plain(result) for result in results],
    }
    (folder / JSON_FILE).write_text(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    (folder / PAGE_FILE).write_text(page(document, results))


def counts(results: Sequence[Result]) -> dict[str, int]:
    return {
        status: sum(result.status == status for result in results) for status in ("pass", "fail", "skipped", "told")
    }


def _plain(result: Result) -> dict[str, Any]:
    fields = result.plain()
    if result.figure is not None and not math.isfinite(result.figure):
        fields["figure"] = str(result.figure)  # JSON has no such numbers
    return fields


def page(document: dict[str, Any], results: Sequence[Result]) -> str:
    """The Markdown page: the failures with advice first, then a table for each group."""
    facts = ", ".join(f"{key} {value}" for key, value in document.items() if isinstance(value, str | int))
    summary = ", ".join(f"{count} {status}" for status, count in document["counts"].items())
    lines = ["# Verification", "", f"**{summary}.** {facts}.", ""]
    failed = [result for result in results if result.status == "fail"]
    lines += [f"- **{result.name}**: {_figure(result)} {result.note}. {result.advice}." for result in failed]
    for group in dict.fromkeys(result.group for result in results):
        lines += ["", f"## {group}", "", "| | figure | threshold | | note | s |", "|---|---|---|---|---|---|"]
        lines += [
            f"| {result.name} | {_figure(result)} | {result.threshold} | {result.status} | {_cell(result.note)} "
            f"| {result.seconds:g} |"
            for result in results
            if result.group == group
        ]
    return "\n".join(lines) + "\n"


def _figure(result: Result) -> str:
    return "" if result.figure is None else f"{result.figure:.4g}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
