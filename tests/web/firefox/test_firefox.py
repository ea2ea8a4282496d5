"""The main states and ways of the app in Firefox, by Node, since Playwright drives no Firefox but its own."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest

from scripts.web import WEB
from tests.api import Api, beat
from tests.web.conftest import Web

MAX_SECONDS = 600  # on a busy machine; two minutes on an idle one
FIREFOX = shutil.which("firefox-esr") or shutil.which("firefox")
SIGN_IN = {"NEXT_PUBLIC_SUPABASE_URL": "http://127.0.0.1:9", "NEXT_PUBLIC_SUPABASE_ANON_KEY": "key"}


@pytest.mark.skipif(FIREFOX is None, reason="there is no Firefox: apt-get install firefox-esr")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_app_in_firefox(studio: httpx.Client, web: Web, api: Api, tmp_path: Path, scheme: str) -> None:
    (tmp_path / "night.wav").write_bytes(beat(6))
    path = api.post("/generate", prompt="quokka house", duration_seconds=2, response="url")["output_path"]
    environment = {
        "FIREFOX": FIREFOX or "",
        "SCHEME": scheme,
        "APP": str(studio.base_url).rstrip("/"),
        "SIGN_IN": str(web({"MUSIC_SERVICE_URL": api.server.url} | SIGN_IN).base_url).rstrip("/"),
        "TRACK": path.removeprefix("/data/outputs/").rpartition(".")[0].replace("/", ":"),
        "BEAT": str(tmp_path / "night.wav"),
    }
    ended = subprocess.run(
        ["node", "--test", "--test-reporter=spec", "testing/firefox/suite.mjs"],
        cwd=WEB,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=MAX_SECONDS,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout[-8000:] + ended.stderr[-2000:]
