"""Plain `bentoml serve` in a checkout: configuration, start, fallback to the other backend."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from core.settings import ROOT
from scripts.serving import Server, serving
from tests.api import PATIENCE, wait_until

LEFT_OUT = shutil.ignore_patterns(
    *(".git", ".venv", "build", "data", "demo", "runs", "tests", "node_modules", ".next", "__pycache__", ".*_cache")
)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project that a test may change."""
    copy = tmp_path_factory.mktemp("checkout") / "project"
    shutil.copytree(ROOT, copy, ignore=LEFT_OUT)
    return copy


@pytest.fixture(scope="module")
def plain(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Plain `bentoml serve` in a checkout whose configuration allows cross-origin calls from one origin."""
    configuration = yaml.safe_load((checkout / "configuration.yaml").read_text())
    cors = {"enabled": True, "access_control_allow_origins": ["http://studio.example"]}
    configuration["services"]["ProducerTwin"]["http"] = {"cors": cors}
    (checkout / "configuration.yaml").write_text(yaml.safe_dump(configuration))
    # Without keys, pages of other origins are refused unless everybody is served.
    environment = {"ACE_STEP_MODEL": str(checkout / "no-such-model"), "ALLOW_ANONYMOUS": "true"}
    with serving(tmp_path_factory.mktemp("plain"), environment, what=(), cwd=checkout) as server:
        yield server


def test_plain_bentoml_serve_answers_the_contract(plain: Server) -> None:
    answer = httpx.get(f"{plain.url}/backends", timeout=PATIENCE)
    assert answer.status_code == 200
    assert [row["name"] for row in answer.json()["backends"]] == ["ace_step", "musicgen"]
    assert httpx.post(f"{plain.url}/generate", json={}, timeout=PATIENCE).json() == {
        "error": "prompt: it is missing; send it"
    }


def test_configuration_yaml_is_what_is_served_with(plain: Server) -> None:
    def allowed(origin: str) -> str | None:
        return httpx.get(f"{plain.url}/backends", headers={"origin": origin}, timeout=PATIENCE).headers.get(
            "access-control-allow-origin"
        )

    assert allowed("http://studio.example") == "http://studio.example"
    assert allowed("http://elsewhere.example") is None


def test_a_backend_without_its_model_says_so_and_the_other_serves(plain: Server) -> None:
    def rows() -> dict[str, Any]:
        answer = httpx.get(f"{plain.url}/backends", timeout=PATIENCE)
        return {row["name"]: row for row in answer.json()["backends"]}

    wait_until(lambda: "no such folder" in rows()["ace_step"]["reason"] and rows()["musicgen"]["ready"])
    body = {"prompt": "beat", "duration_seconds": 1, "seed": 1}
    fallback = httpx.post(f"{plain.url}/generate", json=body, timeout=PATIENCE)
    assert fallback.status_code == 200 and fallback.json()["backend"] == "musicgen"
    by_name = httpx.post(f"{plain.url}/generate", json=body | {"backend_override": "ace_step"}, timeout=PATIENCE)
    assert by_name.status_code == 503 and "no such folder" in by_name.json()["error"]
    told = rows()
    assert not told["ace_step"]["ready"] and "no such folder" in told["ace_step"]["reason"]
    assert told["musicgen"]["ready"] and told["musicgen"]["reason"] is None


def test_configuration_has_a_section_for_every_service() -> None:
    from service import ProducerTwin

    sections = yaml.safe_load((ROOT / "configuration.yaml").read_text())["services"]
    assert sections.keys() == ProducerTwin.all_services().keys()


def test_the_front_imports_no_torch() -> None:
    code = "import sys, service; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
