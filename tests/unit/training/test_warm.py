"""The template of training processes: it can be forked, and holds nothing of a device."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from core.settings import ROOT

_PROGRAM = """
import json, os
import torch

asked = []
def record(name):
    original = getattr(torch.cuda, name)
    setattr(torch.cuda, name, lambda *arguments, **named: asked.append(name) or original(*arguments, **named))
for name in ("init", "_lazy_init", "current_device", "get_device_properties", "get_device_capability", "mem_get_info"):
    record(name)

from core.template.process import count_threads
from preprocessing.isolation import ANALYSIS, DECODING
from training import warm

warm.load()
print(json.dumps([count_threads(), torch.cuda.is_initialized(), asked]))
ANALYSIS.close()
DECODING.close()
"""


@pytest.mark.slow
def test_the_template_starts_no_threads_and_asks_no_device() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    result = subprocess.run(
        [sys.executable, "-c", _PROGRAM],
        cwd=ROOT,
        env=environment | {"OPENBLAS_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        check=True,
    )
    assert json.loads(result.stdout.splitlines()[-1]) == [1, False, []]
