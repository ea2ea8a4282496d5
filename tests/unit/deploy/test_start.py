"""What every process of the service imports at its start, all of them at once on the same cores."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
# Those that take a large share of the start, and that are imported where they are needed.
LATER = ("scipy", "librosa", "torch", "transformers", "diffusers", "typer", "boto3", "google.genai")


@pytest.mark.slow
def test_the_service_is_imported_without_large_libraries(tmp_path: Path) -> None:
    code = f"import json, sys, service; print(json.dumps([each for each in {LATER} if each in sys.modules]))"
    environment = os.environ | {"STORAGE_URL": tmp_path.as_uri(), "BENTOML_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout.splitlines()[-1]) == []
