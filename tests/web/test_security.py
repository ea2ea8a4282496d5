"""Security headers, and that no page breaks its own Content-Security-Policy."""

from __future__ import annotations

import json
import os
import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import ConsoleMessage, Page, expect

from scripts.serving import free_port
from scripts.web import WEB, serving_web
from tests.conftest import IS_WEB, PASSWORD
from tests.web.conftest import Web
from tests.web.producer.facts import JOB, version
from tests.web.producer.service import Service

PAGES = ["/", "/producer", "/nothing"]


def policy(answer: httpx.Response) -> dict[str, list[str]]:
    parts = [part.split() for part in answer.headers["content-security-policy"].split("; ")]
    return {name: values for name, *values in parts}


@pytest.mark.parametrize("path", PAGES)
def test_scripts_and_styles_need_the_nonce_of_the_answer(alone: httpx.Client, path: str) -> None:
    one, other = alone.get(path), alone.get(path)
    assert "unsafe" not in one.headers["content-security-policy"]
    nonces = [re.findall(r"'nonce-([^']{20,})'", answer.headers["content-security-policy"]) for answer in (one, other)]
    assert nonces[0] != nonces[1] and len(set(nonces[0])) == 1
    scripts = re.findall(r"<script[^>]*>", one.text)
    assert scripts and all(f'nonce="{nonces[0][0]}"' in script for script in scripts)
    assert " style=" not in one.text
    rules = policy(one)
    assert rules["object-src"] == rules["base-uri"] == rules["frame-ancestors"] == ["'none'"]


@pytest.mark.parametrize("path", [*PAGES, "/icon.svg", "/api/account"])
def test_every_answer_has_the_headers(alone: httpx.Client, path: str) -> None:
    headers = alone.get(path).headers
    assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "same-origin"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert {"camera=()", "microphone=()", "geolocation=()"} <= set(headers["permissions-policy"].split(", "))
    assert "strict-transport-security" not in headers


def test_with_tls_browsers_are_told_to_keep_to_it(web: Web) -> None:
    app = web({"MUSIC_SERVICE_URL": "http://127.0.0.1:1", "WEB_URL": "https://studio.example"})
    answer = app.get("/", headers={"host": "studio.example"})
    assert answer.headers["strict-transport-security"] == "max-age=31536000"


def test_a_visitors_own_policy_has_no_effect(alone: httpx.Client) -> None:
    answer = alone.get("/", headers={"content-security-policy": "script-src 'nonce-chosen-by-an-attacker'"})
    assert "chosen-by-an-attacker" not in answer.text + answer.headers["content-security-policy"]


def test_no_page_breaks_its_policy(page: Page, alone: httpx.Client) -> None:
    broken: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if "Content Security Policy" in message.text or "Refused to" in message.text:
            broken.append(message.text)

    page.on("console", note)
    page.add_init_script(
        "addEventListener('securitypolicyviolation', (event) => console.error('Refused to', event.violatedDirective))"
    )
    service = Service(jobs=[dict(JOB)], versions=[version(1, current=True), version(2)])
    service.serve(page)
    for path in PAGES:
        page.goto(f"{alone.base_url}{path}", wait_until="networkidle")
    page.goto(f"{alone.base_url}/")
    page.get_by_role("link", name="Producers").click()
    page.get_by_label("Producer id").fill("ada")
    page.locator(".fold").click()
    expect(page.get_by_role("figure", name="How far the twin is off")).to_be_visible()
    page.get_by_role("button", name="Use this one").click()
    page.get_by_role("dialog").get_by_role("button", name="Go back").click()
    page.get_by_role("link", name="Artists").click()
    expect(page.get_by_role("heading", name="Make a track")).to_be_visible()
    assert broken == []
    # The listeners do see what breaks it.
    with page.expect_console_message(lambda message: "Refused to" in message.text):
        page.evaluate("document.head.append(Object.assign(document.createElement('style'), {textContent: 'b {}'}))")
    assert broken


Seen = list[tuple[str, dict[str, str]]]


@contextmanager
def answering(status: int, headers: dict[str, str], body: bytes = b"") -> Iterator[tuple[str, Seen]]:
    """A server that answers everything so. Yields its address, and the requests that it received."""
    seen: Seen = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
            self.send_response(status)
            for name, value in ({"content-length": str(len(body))} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", seen
    finally:
        server.shutdown()
        server.server_close()


def test_a_redirect_to_storage_gets_none_of_the_apps_headers(web: Web) -> None:
    with (
        answering(206, {"content-range": "bytes 0-3/9"}, b"RIFF") as (bucket, of_bucket),
        answering(307, {"location": f"{bucket}/track.wav?signature=x"}) as (service, of_service),
    ):
        app = web({"MUSIC_SERVICE_URL": service})
        secret: dict[str, Any] = {"x-twin-link": "secret", "x-train-password": PASSWORD.encode(), "range": "bytes=0-3"}
        answer = app.get("/api/service/data/outputs/track.wav", headers=secret)
        assert (answer.status_code, answer.content) == (206, b"RIFF")
        assert answer.headers["content-range"] == "bytes 0-3/9"
        ((path, sent),) = of_service
        assert path == "/data/outputs/track.wav" and sent["x-twin-link"] == "secret" and "authorization" in sent
        ((path, sent),) = of_bucket
        assert path == "/track.wav?signature=x" and sent["range"] == "bytes=0-3"
        assert not {"x-twin-link", "authorization", "x-visitor-address", "x-train-password", "cookie"} & sent.keys()


def test_a_tracks_picture_asks_no_other_server(tmp_path: Path) -> None:
    track = {
        "title": "Nächte 夜 🎵 <b>",
        "prompt": "dark",
        "output_path": "/data/outputs/base/a.wav",
        "peaks": [0.1, 0.9],
    }
    with (
        answering(200, {"content-type": "application/json"}, json.dumps(track).encode()) as (service, _),
        serving_web(IS_WEB | {"MUSIC_SERVICE_URL": service}, log=tmp_path / "web.log") as app,
    ):
        picture = httpx.get(f"{app}/track/base:a/opengraph-image", timeout=60, trust_env=False)
    assert picture.headers["content-type"] == "image/png" and picture.content.startswith(b"\x89PNG")
    assert "Failed" not in (tmp_path / "web.log").read_text()  # as the renderer says of a font that it cannot fetch


def test_pages_that_the_server_makes_ask_as_the_visitor(web: Web) -> None:
    """The variables that the client reads in scripts are none of this app's."""
    error = json.dumps({"error": "track_id: there is none"}).encode()
    with answering(404, {"content-type": "application/json"}, error) as (service, seen):
        own = {"MUSIC_SERVICE_URL": service, "MUSIC_SERVICE_API_KEY": ""}
        app = web(own | {"PRODUCER_TWIN_API_KEY": "ptk_a_b", "PRODUCER_TWIN_PASSWORD": PASSWORD})
        assert app.get("/track/base:a").status_code == 404
    assert {path for path, _ in seen} == {"/tracks/base:a"}
    for _, sent in seen:
        assert sent["x-visitor-address"] == "127.0.0.1"
        assert not {"authorization", "x-train-password"} & sent.keys()


def test_redirects_have_an_end(web: Web) -> None:
    with answering(307, {"location": "/data/outputs/track.wav"}) as (service, seen):
        answer = web({"MUSIC_SERVICE_URL": service}).get("/api/service/data/outputs/track.wav")
        assert answer.status_code == 502 and len(seen) <= 21


@pytest.mark.parametrize("url", ["http://project.supabase.example", "project.supabase.co", "ftp://127.0.0.1"])
def test_it_does_not_start_where_passwords_would_go_unprotected(url: str) -> None:
    environment = {"WEB_PORT": str(free_port()), "NEXT_PUBLIC_SUPABASE_URL": url}
    ended = subprocess.run(
        ["node", "server.mjs"], cwd=WEB, env=os.environ | environment, capture_output=True, text=True, timeout=300
    )
    assert ended.returncode != 0
    assert "NEXT_PUBLIC_SUPABASE_URL: it must be an address that starts with https://" in ended.stderr
