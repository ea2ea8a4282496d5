"""`python -m verification` with tiny checkpoints, in an environment without the libraries of the server."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from core.settings import ROOT
from models.checkpoints import Checkpoint
from verification.check import Bound, Check, Measured, Skipped, run
from verification.memory_table import markdown
from verification.page import machine, write
from verification.subject import Subject

CPU = torch.device("cpu")
# Imports of what a bare GPU machine lacks fail.
BARE = """
import runpy, sys
for name in ("bentoml", "boto3", "botocore", "librosa", "av", "soundfile", "prometheus_client", "opentelemetry",
             "c2pa", "matplotlib", "typer"):
    sys.modules[name] = None
sys.argv = ["verification", *sys.argv[1:]]
runpy.run_module("verification", run_name="__main__")
"""


def _verified(size: str, out: Path) -> dict[str, Any]:
    command = [sys.executable, "-c", BARE, "--random", size, "--device", "cpu", "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(f"{out / 'verification.md'}\n")
    assert sorted(path.name for path in out.iterdir()) == ["verification.json", "verification.md"]
    document: dict[str, Any] = json.loads((out / "verification.json").read_text())
    return document


def test_it_starts_without_the_libraries_of_the_server() -> None:
    command = [sys.executable, "-c", BARE, "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


@pytest.mark.long
@pytest.mark.parametrize(("size", "passed"), [("tiny-ace-step", 10), ("tiny-musicgen", 3)])
def test_a_tiny_checkpoint_is_verified_without_a_gpu(size: str, passed: int, tmp_path: Path) -> None:
    document = _verified(size, tmp_path)
    assert document["counts"]["fail"] == 0 and document["counts"]["pass"] >= passed
    assert {each["note"] for each in document["checks"] if each["status"] == "skipped"} <= {
        "no GPU",
        "the weights are tiny",
        "too long without a GPU",
    }
    assert all(each["advice"] and each["name"] for each in document["checks"])


@pytest.fixture
def subject(tmp_path: Path) -> Subject:
    (tmp_path / "weights").mkdir()
    return Subject(Checkpoint("tiny", tmp_path / "weights", "0"), CPU, torch.float32, tmp_path)


def _raise(error: Exception) -> float:
    raise error


@pytest.mark.slow
def test_each_line_has_its_outcome(subject: Subject, tmp_path: Path) -> None:
    checks = [
        Check("kept", lambda subject: 1.0, "advice", Bound(high=1)),
        Check("not kept", lambda subject: Measured(2.0, "a note"), "mend it", Bound(high=1)),
        Check("not a number", lambda subject: float("nan"), "advice", Bound(low=0)),
        Check("told", lambda subject: 3.0, "advice"),
        Check("broken", lambda subject: _raise(ValueError("no such thing")), "advice", Bound(high=1)),
        Check("impossible", lambda subject: _raise(Skipped("no reason")), "advice"),
        Check("on a GPU", lambda subject: 1.0, "advice", needs_gpu=True),
        Check("large", lambda subject: 1.0, "advice", needs_size=True),
    ]
    results = list(run({"group": checks}, subject, 60))
    assert [result.status for result in results] == ["pass", "fail", "fail", "told", "fail", *["skipped"] * 3]
    assert [result.note for result in results[4:]] == [
        "ValueError: no such thing",
        "no reason",
        "no GPU",
        "the weights are tiny",
    ]
    write(tmp_path, {"checkpoint": "tiny", **machine(CPU)}, results)
    page = (tmp_path / "verification.md").read_text()
    assert "1 pass, 3 fail, 3 skipped, 1 told" in page and "- **not kept**: 2 a note. mend it." in page
    assert json.loads((tmp_path / "verification.json").read_text())["checks"][2]["figure"] == "nan"


def test_checks_after_the_time_are_skipped(subject: Subject) -> None:
    [result] = run({"group": [Check("late", lambda subject: 1.0, "advice")]}, subject, -1)
    assert (result.status, result.note) == ("skipped", "the time was over")


@pytest.mark.slow
def test_the_page_has_the_table_of_sizes() -> None:
    assert markdown() in (ROOT / "docs" / "gpu.md").read_text()
