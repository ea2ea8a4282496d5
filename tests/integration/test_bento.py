"""The Bento that `bentoml build` makes serves the same contract."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import httpx

from core.settings import ROOT
from scripts.serving import serving
from tests.api import PATIENCE


def modules(folder: Path) -> set[str]:
    """The service's Python files: those at the root and those of its packages, without tests and tools."""
    packages = {found.parent.name for found in folder.glob("*/__init__.py")} - {"benchmarks", "scripts", "tests"}
    found = [*folder.glob("*.py"), *(file for name in packages for file in (folder / name).rglob("*.py"))]
    return {str(file.relative_to(folder)) for file in found}


def test_the_built_bento_answers_the_contract(tmp_path: Path) -> None:
    environment = {"BENTOML_HOME": str(tmp_path / "bentoml"), "BENTOML_DO_NOT_TRACK": "True"}
    build = subprocess.run(
        [str(Path(sys.executable).parent / "bentoml"), "build", "--output", "tag"],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert build.returncode == 0, build.stderr
    tag = build.stdout.strip().splitlines()[-1].removeprefix("__tag__:")
    source = tmp_path / "bentoml" / "bentos" / tag.replace(":", "/") / "src"
    assert modules(source) == modules(ROOT)
    code = "import bentoml, sys; bentoml.container.get_containerfile(sys.argv[1], sys.argv[2])"
    containerfile = tmp_path / "Containerfile"
    subprocess.run([sys.executable, "-c", code, tag, str(containerfile)], env=os.environ | environment, check=True)
    image = containerfile.read_text()
    users = [line for line in image.splitlines() if line.startswith("USER ")]
    assert users[-1:] == ["USER bentoml"]  # as deploy/kubernetes expects
    assert "BENTO_USER_UID=1034" in image
    assert "BENTO_PATH=/home/bentoml/bento" in image
    with serving(tmp_path, environment, what=(tag,), cwd=tmp_path) as server:
        body = {"prompt": "beat", "duration_seconds": 1, "seed": 1}
        for backend in ("ace_step", "musicgen"):
            made = httpx.post(f"{server.url}/generate", json=body | {"backend_override": backend}, timeout=PATIENCE)
            assert made.status_code == 200, made.text
            assert made.json()["backend"] == backend
        assert httpx.get(f"{server.url}/loras", timeout=PATIENCE).json() == {"loras": []}
        assert "prompt" in httpx.post(f"{server.url}/generate", json={}, timeout=PATIENCE).json()["error"]
