"""Download the URLs of a train request.

Only public addresses are connected to, redirects included (see preprocessing.public_network), and proxies of the
environment are not used. A broken transfer is resumed where the server supports it.
"""

from __future__ import annotations

import re
import ssl
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import httpcore
import httpx

from core.errors import Refusal
from core.settings import Settings
from core.text import shown
from preprocessing.containers.base import BadAudio
from preprocessing.decode import probe
from preprocessing.public_network import (
    AddressCheck,
    DeadlineExceeded,
    NotPublic,
    PublicBackend,
    is_public,
    literal_address,
)

MAX_CONCURRENT = 4
MAX_TRIES = 3  # in a row without progress
RETRY_SECONDS = 0.5
MAX_REDIRECTS = 5
MAX_URL_LENGTH = 4096
TIMEOUTS = {"connect": 10.0, "read": 20.0, "write": 20.0, "pool": 10.0}  # seconds without a byte
HEADERS: dict[bytes | str, bytes | str] = {b"Accept-Encoding": b"identity", b"User-Agent": b"producer-twin"}

_PRIVATE = "its address is not public; use a link that anyone on the internet can open"


class _Retry(Exception):
    """The transfer failed in a way that a retry may solve."""


def check_url(url: str, field: str) -> None:
    """Refuse (400, naming `field`) a malformed URL and a literal address that is not public, without a DNS query."""
    address = literal_address(parse_url(url, field).host)
    if address and not is_public(address):
        raise Refusal(400, f"{field}: {redacted(url)}: {_PRIVATE}")


def fetch(
    urls: list[str],
    directory: Path,
    settings: Settings,
    field: str = "upload_urls",
    is_allowed: AddressCheck = is_public,
    on_file: Callable[[], object] = lambda: None,
) -> list[Path]:
    """Download all URLs into `directory`, as clip_0000.<extension by content> and so on, in their order.

    Args:
        is_allowed: which addresses may be connected to.
        on_file: called after each file, in the order of the URLs.

    Raises:
        Refusal: for the first URL that fails, by its index and without its query, which may hold a secret.
    """
    directory.mkdir(parents=True, exist_ok=True)
    budget = _ByteBudget(settings.fetch_max_total_bytes)

    def one(index: int, url: str) -> Path:
        name, path = f"{field}[{index}]", directory / f"clip_{index:04d}"
        deadline = time.monotonic() + settings.fetch_timeout_seconds
        _Download(parse_url(url, name), name, _Partial(path, budget), settings, deadline, is_allowed).run()
        try:
            extension = probe(path).format
        except BadAudio as error:
            raise Refusal(400, f"{name}: {redacted(url)}: {error}") from error
        return path.rename(path.with_suffix(f".{extension}"))

    with ThreadPoolExecutor(MAX_CONCURRENT) as pool:
        jobs = [pool.submit(one, index, url) for index, url in enumerate(urls)]
        try:
            paths = []
            for job in jobs:
                paths.append(job.result())
                on_file()
            return paths
        finally:
            pool.shutdown(cancel_futures=True)


def redacted(url: str) -> str:
    """The URL without user, password and query, for messages and records."""
    plain = url.partition("?")[0].partition("#")[0]
    return shown(re.sub(r"//[^/]*@", "//", plain))


def parse_url(url: str, field: str) -> httpx.URL:
    """The URL. Raises Refusal (400), naming `field`, if it is malformed, not http(s), or holds a password."""
    where = f"{field}: {redacted(url)}"
    try:
        parsed = httpx.URL(url) if len(url) <= MAX_URL_LENGTH else None
    except (httpx.InvalidURL, ValueError):
        parsed = None
    if parsed is not None and parsed.scheme not in ("http", "https", ""):
        raise Refusal(400, f"{where}: only http and https can be fetched")
    port = 80 if parsed is None or parsed.port is None else parsed.port
    if parsed is None or not (parsed.scheme and parsed.host and 0 < port < 65536) or re.search(r"[\x00-\x20\x7f]", url):
        raise Refusal(400, f"{where} is not a URL; send one such as https://example.com/beat.wav")
    if parsed.userinfo:
        raise Refusal(400, f"{where} holds a user name or password; use a link that needs none")
    return parsed


class _ByteBudget:
    """The bytes that all files of a request may have together."""

    def __init__(self, limit: int) -> None:
        self.limit = self._remaining = limit
        self._lock = Lock()

    def take(self, size: int) -> bool:
        """Spend `size` bytes; False if the budget is exceeded. A negative size gives bytes back."""
        with self._lock:
            self._remaining -= size
            return self._remaining >= 0


@dataclass
class _Partial:
    """The bytes of a file that have arrived; `validator` is the server's ETag or Last-Modified for its version."""

    path: Path
    budget: _ByteBudget
    size: int = 0
    validator: bytes = b""

    def headers(self) -> dict[bytes | str, bytes | str]:
        """Ask for the remaining bytes, or for the whole file if it has changed (RFC 9110, section 13.1.5)."""
        if not (self.size and self.validator):
            return {}
        return {b"Range": b"bytes=%d-" % self.size, b"If-Range": self.validator}

    def begin(self, names: dict[bytes, str]) -> None:
        """Discard the bytes so far: the server sends the file from its start."""
        self.budget.take(-self.size)
        self.size = 0
        self.path.write_bytes(b"")
        tag = names.get(b"etag", "")
        self.validator = (names.get(b"last-modified", "") if tag.startswith("W/") or not tag else tag).encode("latin-1")


@dataclass(frozen=True)
class _Download:
    """The download of one URL.

    Attributes:
        field: of the request, such as `upload_urls[0]`.
        deadline: by `time.monotonic`.
    """

    url: httpx.URL
    field: str
    partial: _Partial
    settings: Settings
    deadline: float
    is_allowed: AddressCheck

    def run(self) -> None:
        """Download the file, with retries while there is progress. Raises Refusal."""
        tries = MAX_TRIES
        while True:
            before = self.partial.size
            try:
                self._try()
                return
            except _Retry as error:
                resumed = self.partial.validator and self.partial.size > before
                tries = MAX_TRIES if resumed else tries - 1
                if not tries or time.monotonic() > self.deadline:
                    raise Refusal(400, f"{self._where}: {error}") from error
                time.sleep(RETRY_SECONDS)

    @property
    def _where(self) -> str:
        return f"{self.field}: {redacted(str(self.url))}"

    def _try(self) -> None:
        """Follow redirects to the file, and write its remaining bytes. Raises Refusal or _Retry."""
        backend = PublicBackend(self.is_allowed, self.deadline)
        # httpx's choice of certificates: the operator may name another bundle in the environment.
        with httpcore.ConnectionPool(ssl_context=httpx.create_ssl_context(), network_backend=backend) as pool:
            try:
                url = self.url
                for _ in range(MAX_REDIRECTS + 1):
                    target = self._request(pool, url)
                    if target is None:
                        return
                    url = target
                raise Refusal(400, f"{self._where}: more than {MAX_REDIRECTS} redirects; use the last link")
            except NotPublic as error:
                raise Refusal(400, f"{self._where}: {_PRIVATE}") from error
            except httpx.InvalidURL as error:
                raise Refusal(400, f"{self._where}: it redirects to something that is not a URL") from error
            except (DeadlineExceeded, httpcore.TimeoutException) as error:
                if time.monotonic() > self.deadline:
                    seconds = self.settings.fetch_timeout_seconds
                    message = f"{self._where}: it took longer than {seconds:g} s; use a faster server"
                    raise Refusal(400, message) from error
                raise _Retry("the server is silent; check the link") from error
            except (httpcore.NetworkError, httpcore.ProtocolError, ssl.SSLError) as error:
                raise _Retry("the server cannot be reached, or the transfer broke; check the link") from error

    def _request(self, pool: httpcore.ConnectionPool, url: httpx.URL) -> httpx.URL | None:
        """Send one request. Returns the target of a redirect, or None when the file is complete."""
        address = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        headers = HEADERS | {b"Host": url.netloc} | self.partial.headers()
        with pool.stream("GET", address, headers=headers, extensions={"timeout": TIMEOUTS}) as answer:
            received = {name.lower(): value.decode("latin-1") for name, value in answer.headers}
            if answer.status in (301, 302, 303, 307, 308) and b"location" in received:
                return parse_url(str(url.join(received[b"location"])), f"{self._where} redirects")
            self._check(answer.status, received)
            self._write(answer.iter_stream(), received.get(b"content-length", ""))
        return None

    def _check(self, status: int, headers: dict[bytes, str]) -> None:
        """Check an answer that is no redirect, and prepare the partial file for its body."""
        partial = self.partial
        if status >= 500 or status == 429:
            raise _Retry(f"the server answered {status}")
        if status == 416 and partial.size:  # the file has become shorter
            partial.begin({})
            raise _Retry("the file changes while it is fetched; try again later")
        resumes = status == 206 and partial.size > 0
        if status != 200 and not resumes:
            raise Refusal(400, f"{self._where}: the server answered {status}; check the link")
        if headers.get(b"content-encoding", "identity") != "identity":
            raise Refusal(400, f"{self._where}: the server sends it compressed; use a link to the plain file")
        if not resumes:
            partial.begin(headers)
        elif not headers.get(b"content-range", "").startswith(f"bytes {partial.size}-"):
            raise Refusal(400, f"{self._where}: the server sent another range than was asked for")

    def _write(self, chunks: Iterable[bytes], content_length: str) -> None:
        partial, limit = self.partial, self.settings.fetch_max_bytes
        too_large = Refusal(
            400, f"{self._where}: it is larger than the {limit} bytes that can be fetched; send a smaller file"
        )
        if content_length.isdecimal() and partial.size + int(content_length) > limit:
            raise too_large
        with partial.path.open("ab") as file:
            for chunk in chunks:
                partial.size += len(chunk)
                if partial.size > limit:
                    raise too_large
                if not partial.budget.take(len(chunk)):
                    total = partial.budget.limit
                    message = f"{self._where}: with it the files exceed the {total} bytes of a request; send fewer"
                    raise Refusal(400, message)
                file.write(chunk)
