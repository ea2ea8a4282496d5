"""The faults that were seen, and the rooms of the app, in Firefox: Playwright drives no Firefox but one of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from scripts.web import WEB
from tests.api import Api, beat
from tests.conftest import PASSWORD
from tests.web.conftest import GUARDED, Web
from tests.web.producer.served import served_stand_in

MAX_SECONDS = 1200  # on a busy machine
FIREFOX = shutil.which("firefox-esr") or shutil.which("firefox")
SIGN_IN = {"NEXT_PUBLIC_SUPABASE_URL": "http://127.0.0.1:9", "NEXT_PUBLIC_SUPABASE_ANON_KEY": "key"}


@pytest.fixture(scope="module")
def stand_in_service() -> Iterator[str]:
    with served_stand_in() as url:
        yield url


@pytest.mark.skipif(FIREFOX is None, reason="there is no Firefox: apt-get install firefox-esr")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_app_in_firefox(
    studio: httpx.Client, web: Web, api: Api, stand_in_service: str, tmp_path: Path, scheme: str
) -> None:
    (tmp_path / "night.wav").write_bytes(beat(6))
    path = api.post("/generate", prompt="quokka house", duration_seconds=10, response="url")["output_path"]

    def app(**settings: str) -> str:
        return str(web({"MUSIC_SERVICE_URL": api.server.url} | settings).base_url).rstrip("/")

    environment = {
        "FIREFOX": FIREFOX or "",
        "SCHEME": scheme,
        "APP": str(studio.base_url).rstrip("/"),
        "SIGN_IN": app(**SIGN_IN),
        "GUARDED": app(**GUARDED),
        "PASSWORD": PASSWORD,
        "PRODUCERS": app(MUSIC_SERVICE_URL=stand_in_service),
        "STAND_IN": stand_in_service,
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
