"""Downloads from local servers, and addresses that must not be reached."""

from __future__ import annotations

import io
import ipaddress
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpcore
import numpy as np
import pytest
import soundfile

from core.errors import Refusal
from core.settings import Settings
from preprocessing.fetch import check_url, fetch
from preprocessing.public_network import Address, is_public


def _wav(seconds: float = 2) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.sin(np.arange(int(8000 * seconds)) / 5), 8000, format="WAV")
    return file.getvalue()


WAV = _wav()
DRIPS, DRIP_SECONDS = 600, 0.05


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    asked: list[str]
    ranges: list[int]

    def do_GET(self) -> None:
        type(self).asked.append(self.path)
        path = self.path.partition("?")[0]
        if path == "/beat":
            self._answer(WAV)
        elif path == "/chunked":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for start in range(0, len(WAV), 5000):
                part = WAV[start : start + 5000]
                self.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
            self.wfile.write(b"0\r\n\r\n")
        elif path.startswith("/to/"):
            self._redirect(path.removeprefix("/to/"))
        elif path.startswith("/hops/"):
            left = int(path.removeprefix("/hops/"))
            self._redirect(f"/hops/{left - 1}" if left else "/beat")
        elif path == "/text":
            self._answer(b"not music at all, but named so")
        elif path == "/gzip":
            self._answer(WAV, encoding="gzip")
        elif path == "/broken":  # once, then whole
            if self.asked.count("/broken") == 1:
                self.send_response(200)
                self.send_header("Content-Length", str(len(WAV)))
                self.end_headers()
                self.wfile.write(WAV[:1000])
                self.close_connection = True
            else:
                self._answer(WAV)
        elif path.startswith("/parts/"):  # breaks off after each 10,000 bytes; the name decides how it resumes
            kind = path.removeprefix("/parts/")
            start = int((self.headers["Range"] or "bytes=0-")[6:-1])
            tag = f'"{len(self.asked)}"' if kind == "changing" else '"v1"'
            if self.headers["If-Range"] not in (None, tag) or kind == "deaf":
                start = 0
            self.ranges.append(start)
            self.send_response(206 if start else 200)
            if kind != "untagged":
                self.send_header("ETag", tag)
            if start:
                shift = int(kind == "liar")
                self.send_header("Content-Range", f"bytes {start + shift}-{len(WAV) - 1}/{len(WAV)}")
            self.send_header("Content-Length", str(len(WAV) - start))
            self.end_headers()
            most = len(WAV) if kind == "changing" and len(self.asked) == 3 else 10_000
            self.wfile.write(WAV[start : start + most])
            self.close_connection = True
        elif path == "/busy":
            self._answer(b"", status=503)
        elif path == "/drip":
            self.send_response(200)
            self.end_headers()
            try:
                for _ in range(DRIPS):
                    self.wfile.write(b"x")
                    time.sleep(DRIP_SECONDS)
            except OSError:
                self.close_connection = True
        else:
            self._answer(b"nothing here", status=404)

    def _answer(self, body: bytes, status: int = 200, encoding: str | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if encoding:
            self.send_header("Content-Encoding", encoding)
        self.end_headers()
        self.wfile.write(body)

    def _redirect(self, target: str) -> None:
        self.send_response(302)
        self.send_header("Location", target)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    """A server on the loopback; `RequestHandlerClass.asked` lists the paths asked for."""
    handler = type("Handler", (_Handler,), {"asked": [], "ranges": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True).start()
        yield running
        running.shutdown()


@pytest.fixture
def base(server: ThreadingHTTPServer) -> str:
    return f"http://127.0.0.1:{server.server_address[1]}"


def public_or_loopback(address: Address) -> bool:
    return address.is_loopback or is_public(address)


local_fetch = partial(fetch, is_allowed=public_or_loopback)


def test_files_come_in_their_order_named_by_content(base: str, tmp_path: Path) -> None:
    urls = [f"{base}/{path}" for path in ("beat", "chunked", "hops/4", "to/beat", "broken", "beat?song.mp3")]
    urls[3] = f"{base}/to//beat"
    paths = local_fetch(urls, tmp_path / "new", Settings())
    assert [path.name for path in paths] == [f"clip_{index:04d}.wav" for index in range(6)]
    assert all(path.read_bytes() == WAV for path in paths)


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("missing", "answered 404"),
        ("busy", "answered 503"),
        ("text", "it is not audio"),
        ("gzip", "compressed"),
        ("hops/5", "more than 5 redirects"),
        ("to/ftp://127.0.0.1/x", "only http and https"),
        ("to/file:///etc/passwd", "only http and https"),
        ("to/http://user:secret@127.0.0.1/x", "user name"),
    ],
)
def test_a_failing_url_is_named(base: str, tmp_path: Path, path: str, says: str) -> None:
    with pytest.raises(Refusal, match=says) as refusal:
        local_fetch([f"{base}/beat", f"{base}/{path}?token=hidden"], tmp_path, Settings())
    assert refusal.value.status == 400
    assert refusal.value.message.startswith(f"upload_urls[1]: {base}/{path.partition(':')[0]}")
    assert "hidden" not in refusal.value.message
    assert "secret" not in refusal.value.message


def test_size_is_limited_with_and_without_content_length(base: str, tmp_path: Path) -> None:
    for path in ("beat", "chunked"):
        with pytest.raises(Refusal, match="larger than the 10000 bytes"):
            local_fetch([f"{base}/{path}"], tmp_path, Settings(fetch_max_bytes=10_000))


@pytest.mark.slow
def test_all_files_together_are_limited(base: str, tmp_path: Path) -> None:
    config = Settings(fetch_max_total_bytes=3 * len(WAV))
    local_fetch([f"{base}/beat", f"{base}/parts/tagged", f"{base}/broken"], tmp_path / "a", config)
    with pytest.raises(Refusal, match="with it the files exceed") as refusal:
        local_fetch([f"{base}/beat"] * 4, tmp_path / "b", config)
    assert refusal.value.status == 400


@pytest.fixture
def no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("preprocessing.fetch.RETRY_SECONDS", 0.0)


def test_a_broken_transfer_is_resumed(server: ThreadingHTTPServer, base: str, tmp_path: Path, no_wait: None) -> None:
    (path,) = local_fetch([f"{base}/parts/tagged"], tmp_path, Settings())
    assert path.read_bytes() == WAV
    assert server.RequestHandlerClass.ranges == [0, 10_000, 20_000, 30_000]  # type: ignore[attr-defined]


def test_a_file_that_changed_meanwhile_is_fetched_anew(
    server: ThreadingHTTPServer, base: str, tmp_path: Path, no_wait: None
) -> None:
    (path,) = local_fetch([f"{base}/parts/changing"], tmp_path, Settings())
    assert path.read_bytes() == WAV
    assert server.RequestHandlerClass.ranges == [0, 0, 0]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("kind", "says"), [("untagged", "transfer broke"), ("deaf", "transfer broke"), ("liar", "another range")]
)
def test_transfers_that_cannot_be_resumed_end(base: str, tmp_path: Path, no_wait: None, kind: str, says: str) -> None:
    with pytest.raises(Refusal, match=says):
        local_fetch([f"{base}/parts/{kind}"], tmp_path, Settings())


def test_time_is_limited_for_the_whole_transfer(base: str, tmp_path: Path) -> None:
    start = time.monotonic()
    with pytest.raises(Refusal, match="longer than 1 s"):
        local_fetch([f"{base}/drip"], tmp_path, Settings(fetch_timeout_seconds=1))
    assert time.monotonic() - start < DRIPS * DRIP_SECONDS  # the least time of the whole transfer


def test_a_closed_port_is_refused(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(Refusal, match="cannot be reached"):
        local_fetch([f"http://127.0.0.1:{port}/a.wav"], tmp_path, Settings())


# Spellings of addresses that are not public; {port} is the local server's.
FORBIDDEN = [
    *("http://127.0.0.1:{port}/beat", "http://localhost:{port}/beat", "http://2130706433:{port}/beat"),
    *("http://0x7f000001:{port}/beat", "http://0177.0.0.1:{port}/beat", "http://127.1:{port}/beat"),
    *("http://0.0.0.0:{port}/beat", "http://0:{port}/beat", "http://[::1]:{port}/beat", "http://[::]:{port}/beat"),
    *("http://[::ffff:127.0.0.1]:{port}/beat", "http://[::ffff:7f00:1]:{port}/beat"),
    *("http://[64:ff9b::127.0.0.1]/", "http://[2002:7f00:1::]/", "http://[2001:0:4136:e378::1]/"),
    *("http://10.0.0.1/", "http://172.16.0.1/", "http://192.168.1.1/", "http://100.64.0.1/"),
    *("http://169.254.169.254/latest/meta-data/", "http://[fd00:ec2::254]/", "http://168.63.129.16/"),
    *("http://192.0.0.192/", "http://100.100.100.200/", "http://[fe80::1]/", "http://[fc00::1]/"),
    *("http://224.0.0.1/", "http://[ff02::1]/", "http://255.255.255.255/", "http://198.18.0.1/"),
    *("http://127。0。0。1:{port}/beat", "http://①②⑦.0.0.1:{port}/beat"),
]


@pytest.mark.parametrize("url", FORBIDDEN)
def test_addresses_that_are_not_public(server: ThreadingHTTPServer, tmp_path: Path, url: str) -> None:
    full = url.format(port=server.server_address[1])
    with pytest.raises(Refusal, match=r"upload_urls\[0\]") as refusal:
        fetch([full], tmp_path, Settings())
    assert refusal.value.status == 400
    assert "not public" in refusal.value.message or "is not a URL" in refusal.value.message
    assert server.RequestHandlerClass.asked == []  # type: ignore[attr-defined]
    assert list(tmp_path.iterdir()) == []


def test_a_redirect_to_a_private_address_is_refused(server: ThreadingHTTPServer, base: str, tmp_path: Path) -> None:
    for target in ("http://10.0.0.1/", "http://169.254.169.254/", "http://[::ffff:10.0.0.1]/", "//192.168.0.1/"):
        with pytest.raises(Refusal, match="not public"):
            local_fetch([f"{base}/to/{target}"], tmp_path, Settings())


NOT_URLS = [
    *("", "beat.wav", "//host/beat.wav", "http://", "http:///x", "ftp://host/x", "file:///etc/passwd", "data:,x"),
    *("http://user@example.com/", "https://a:b@example.com/", "http://exa mple.com/", "http://a\nb/", "gopher://x"),
    *("http://[::1/", "http://example.com:99999/", "http://" + "a" * 5000, "javascript:alert(1)", "http://a\x00b/"),
]


@pytest.mark.parametrize("url", NOT_URLS)
def test_malformed_urls_are_refused_at_once(url: str) -> None:
    with pytest.raises(Refusal, match=r"upload_urls\[3\]") as refusal:
        check_url(url, "upload_urls[3]")
    assert refusal.value.status == 400
    assert len(refusal.value.message) < 400
    assert "a:b" not in refusal.value.message


def test_public_urls_pass_and_literal_private_addresses_do_not() -> None:
    for url in (
        "https://example.com/beat.wav?x=1",
        "http://1.1.1.1/",
        "https://[2606:4700::1111]/a",
        "http://bücher.de/",
    ):
        check_url(url, "upload_urls[0]")
    for url in ("http://10.0.0.1/", "http://0x7f.1/", "http://[::1]/"):
        with pytest.raises(Refusal, match="not public"):
            check_url(url, "upload_urls[0]")


def test_a_name_that_changes_its_address(
    server: ThreadingHTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: the connection goes to the checked address; a retry resolves and checks again."""
    port = server.server_address[1]
    answers = iter(["93.184.216.34", "127.0.0.1", "127.0.0.1", "127.0.0.1"])
    connected = []

    def resolve(host: str, port: int, **_: Any) -> list[Any]:
        assert host == "rebind.test"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(answers), port))]

    def connect(self: Any, host: str, *rest: Any) -> Any:
        connected.append(host)
        raise httpcore.ConnectError("no route in a test")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(httpcore.SyncBackend, "connect_tcp", connect)
    with pytest.raises(Refusal, match="not public"):
        fetch([f"http://rebind.test:{port}/beat"], tmp_path, Settings())
    assert connected == ["93.184.216.34"]
    assert server.RequestHandlerClass.asked == []  # type: ignore[attr-defined]


def test_a_name_with_a_public_and_a_private_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(host: str, port: int, **_: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in ("93.184.216.34", "10.0.0.1")]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with pytest.raises(Refusal, match="not public"):
        fetch(["http://both.test/beat"], tmp_path, Settings())


def test_proxies_of_the_environment_are_not_used(base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert len(local_fetch([f"{base}/beat"], tmp_path, Settings())) == 1


def test_public_addresses() -> None:
    public = ["1.1.1.1", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
    private = ["64:ff9b::a00:1", "::ffff:10.0.0.1", "::7f00:1", "2002:808:808::", "fec0::1", "64:ff9b:1::1", "::"]
    assert all(is_public(ipaddress.ip_address(each)) for each in public)
    assert not any(is_public(ipaddress.ip_address(each)) for each in private)


@pytest.mark.slow
def test_certificates_are_checked_for_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not shutil.which("openssl"):
        pytest.skip("needs openssl to make a certificate")
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject]
    subprocess.run([*make, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    handler = type("Handler", (_Handler,), {"asked": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running, ThreadPoolExecutor(1) as pool:
        running.socket = context.wrap_socket(running.socket, server_side=True)
        pool.submit(running.serve_forever, 0.05)
        port = running.server_address[1]
        try:
            with pytest.raises(Refusal, match="cannot be reached"):
                local_fetch([f"https://localhost:{port}/beat"], tmp_path / "a", Settings())
            monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
            assert len(local_fetch([f"https://localhost:{port}/beat"], tmp_path / "b", Settings())) == 1
            with pytest.raises(Refusal, match="cannot be reached"):  # the certificate is another name's
                local_fetch([f"https://127.0.0.1:{port}/beat"], tmp_path / "c", Settings())
        finally:
            running.shutdown()
