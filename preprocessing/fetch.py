"""Download what a client names by URL, from public addresses only.

The name is resolved here, every address that it has is checked, and the connection is made to a checked address, so a
name server that changes its answer changes nothing; redirects go through the same door. (httpx-secure, which does
this too, connects to an address before it checks it, which tells a stranger which inner ports are open; so the door is
our own.) No proxy is used, whatever the environment says.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import httpcore
import httpx

from core.errors import Refusal
from core.settings import Settings
from core.text import shown
from preprocessing.decode import BadAudio, probe

AT_ONCE = 4
TRIES = 3  # without a byte more than before
WAIT = 0.5  # seconds before another try
MAX_REDIRECTS = 5
MAX_URL = 4096
TIMEOUTS = {"connect": 10.0, "read": 20.0, "write": 20.0, "pool": 10.0}  # seconds; silence, not the whole transfer
HEADERS: dict[bytes | str, bytes | str] = {b"Accept-Encoding": b"identity", b"User-Agent": b"producer-twin"}

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# What is not the public internet, by IANA's registries of special addresses, whatever this Python believes.
_NOT_PUBLIC = [
    ipaddress.ip_network(network)
    for network in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24"),
        *("203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
        "168.63.129.16/32",  # Azure's own services, at an address that looks public
        *("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"),  # with Teredo and 6to4, which wrap an IPv4 address
    )
]
_UNICAST = ipaddress.IPv6Network("2000::/3")  # of IPv6, nothing else is public
_PRIVATE = "its address is not public; use a link that anyone on the internet can open"
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class _Again(Exception):
    """The transfer broke in a way that another try may mend."""


def check_url(url: str, field: str, settings: Settings) -> None:
    """Refuse (400, naming `field`) what can never be fetched, without asking any name server."""
    address = _literal(_parse(url, field).host)
    if address and not _may_connect(address, settings):
        raise Refusal(400, f"{field}: {without_secrets(url)}: {_PRIVATE}")


def fetch(urls: list[str], directory: Path, settings: Settings, field: str = "upload_urls") -> list[Path]:
    """Download all URLs into `directory`, as clip_0000.<extension by content> and so on, in their order.

    Raises Refusal for the first that fails, by its index and without its query, which may hold a secret.
    """
    directory.mkdir(parents=True, exist_ok=True)
    allowance = _Allowance(settings.fetch_max_total_bytes)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        jobs = [
            pool.submit(_fetch_one, url, directory / f"clip_{index:04d}", settings, f"{field}[{index}]", allowance)
            for index, url in enumerate(urls)
        ]
        try:
            return [job.result() for job in jobs]
        finally:
            pool.shutdown(cancel_futures=True)


def without_secrets(url: str) -> str:
    """The URL without user, password, and query, as messages and records may show it."""
    plain = url.partition("?")[0].partition("#")[0]
    return shown(re.sub(r"//[^/]*@", "//", plain))


def is_public(address: Address) -> bool:
    """Whether anyone on the internet may reach this address."""
    inner = _inner(address)
    if inner is not address:
        return is_public(inner)
    if any(address in network for network in _NOT_PUBLIC if network.version == address.version):
        return False
    return address.version == 4 or address in _UNICAST


def _inner(address: Address) -> Address:
    """The IPv4 address that an IPv6 one stands for, or the address itself."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return address.ipv4_mapped
        if address in _NAT64:
            return ipaddress.IPv4Address(address.packed[-4:])
    return address


def _may_connect(address: Address, settings: Settings) -> bool:
    return is_public(address) or (settings.fetch_allow_loopback and _inner(address).is_loopback)


def _literal(host: str) -> Address | None:
    """The address that a host is, in any notation that resolvers take (`127.1`, `0x7f000001`), or None for a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except (OSError, ValueError):
        return None


def _parse(url: str, field: str) -> httpx.URL:
    where = f"{field}: {without_secrets(url)}"
    try:
        parsed = httpx.URL(url) if len(url) <= MAX_URL else None
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


class _Allowance:
    """What all files of a request may take together, in bytes."""

    def __init__(self, limit: int) -> None:
        self.limit = self._left = limit
        self._lock = Lock()

    def take(self, size: int) -> bool:
        """Whether there is room for so many more; a negative size gives room back."""
        with self._lock:
            self._left -= size
            return self._left >= 0


@dataclass
class _Partial:
    """What has arrived of a file. `validator` is what the server calls this version of it, if it can tell versions."""

    path: Path
    allowance: _Allowance
    size: int = 0
    validator: bytes = b""

    def headers(self) -> dict[bytes | str, bytes | str]:
        """To ask for the rest only, or for everything if the file is another one by now (RFC 9110, 13.1.5)."""
        if not (self.size and self.validator):
            return {}
        return {b"Range": b"bytes=%d-" % self.size, b"If-Range": self.validator}

    def begin(self, names: dict[bytes, str]) -> None:
        """Forget what there is: the file comes from its start."""
        self.allowance.take(-self.size)
        self.size = 0
        self.path.write_bytes(b"")
        tag = names.get(b"etag", "")
        self.validator = (names.get(b"last-modified", "") if tag.startswith("W/") or not tag else tag).encode("latin-1")


def _fetch_one(url: str, target: Path, settings: Settings, field: str, allowance: _Allowance) -> Path:
    where = f"{field}: {without_secrets(url)}"
    deadline = time.monotonic() + settings.fetch_timeout_seconds
    parsed = _parse(url, field)
    partial = _Partial(target, allowance)
    tries = TRIES
    while True:
        before = partial.size
        try:
            _download(parsed, partial, settings, field, deadline)
            break
        except _Again as error:
            tries = TRIES if partial.validator and partial.size > before else tries - 1
            if not tries or time.monotonic() > deadline:
                raise Refusal(400, f"{where}: {error}") from error
            time.sleep(WAIT)
    try:
        extension = probe(target).format
    except BadAudio as error:
        raise Refusal(400, f"{where}: {error}") from error
    return target.rename(target.with_suffix(f".{extension}"))


def _download(url: httpx.URL, partial: _Partial, settings: Settings, field: str, deadline: float) -> None:
    """Follow redirects to the file, and write what is missing of it. Raises Refusal, or _Again."""
    where = f"{field}: {without_secrets(str(url))}"
    door = _Door(settings, deadline)
    # Certificates as httpx has them; the environment may name another bundle, which is the operator's word.
    with httpcore.ConnectionPool(ssl_context=httpx.create_ssl_context(), network_backend=door) as pool:
        try:
            for _ in range(MAX_REDIRECTS + 1):
                address = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
                headers = HEADERS | {b"Host": url.netloc} | partial.headers()
                with pool.stream("GET", address, headers=headers, extensions={"timeout": TIMEOUTS}) as answer:
                    names = {name.lower(): value.decode("latin-1") for name, value in answer.headers}
                    if answer.status in (301, 302, 303, 307, 308) and b"location" in names:
                        url = _parse(str(url.join(names[b"location"])), f"{where} redirects")
                        continue
                    if answer.status >= 500 or answer.status == 429:
                        raise _Again(f"the server answered {answer.status}")
                    if answer.status == 416 and partial.size:  # it is shorter by now
                        partial.begin({})
                        raise _Again("the file changes while it is fetched; try again later")
                    goes_on = answer.status == 206 and partial.size > 0
                    if answer.status != 200 and not goes_on:
                        raise Refusal(400, f"{where}: the server answered {answer.status}; check the link")
                    if names.get(b"content-encoding", "identity") != "identity":
                        raise Refusal(400, f"{where}: the server sends it compressed; use a link to the plain file")
                    if not goes_on:
                        partial.begin(names)
                    elif not names.get(b"content-range", "").startswith(f"bytes {partial.size}-"):
                        raise Refusal(400, f"{where}: the server sent another part than the one asked for")
                    _write(answer.iter_stream(), names.get(b"content-length", ""), partial, settings, where)
                    return
            raise Refusal(400, f"{where}: more than {MAX_REDIRECTS} redirects; use the last link")
        except _NotPublic as error:
            raise Refusal(400, f"{where}: {_PRIVATE}") from error
        except httpx.InvalidURL as error:
            raise Refusal(400, f"{where}: it redirects to something that is not a URL") from error
        except (_Late, httpcore.TimeoutException) as error:
            if time.monotonic() > deadline:
                seconds = settings.fetch_timeout_seconds
                raise Refusal(400, f"{where}: it took longer than {seconds:g} s; use a faster server") from error
            raise _Again("the server is silent; check the link") from error
        except (httpcore.NetworkError, httpcore.ProtocolError, ssl.SSLError) as error:
            raise _Again("the server cannot be reached, or the transfer broke; check the link") from error


def _write(chunks: Iterable[bytes], promised: str, partial: _Partial, settings: Settings, where: str) -> None:
    limit = settings.fetch_max_bytes
    too_large = Refusal(400, f"{where}: it is larger than the {limit} bytes that can be fetched; send a smaller file")
    if promised.isdecimal() and partial.size + int(promised) > limit:
        raise too_large
    with partial.path.open("ab") as file:
        for chunk in chunks:
            partial.size += len(chunk)
            if partial.size > limit:
                raise too_large
            if not partial.allowance.take(len(chunk)):
                total = partial.allowance.limit
                raise Refusal(400, f"{where}: with it the files are over the {total} bytes of a request; send fewer")
            file.write(chunk)


class _NotPublic(Exception):
    """The address may not be connected to."""


class _Late(Exception):
    """The time for the whole transfer is over."""


class _Door(httpcore.NetworkBackend):
    """Makes connections: to checked addresses only, and with no wait that goes beyond the deadline."""

    def __init__(self, settings: Settings, deadline: float) -> None:
        self._settings = settings
        self._deadline = deadline
        self._plain = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError("the name is not known") from error
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        # All of them: a name with a public and a private address is a trap.
        if not all(_may_connect(ipaddress.ip_address(address), self._settings) for address in addresses):
            raise _NotPublic
        for address in addresses:
            try:
                wait = self._wait(timeout) / len(addresses)
                return _Stream(self._plain.connect_tcp(address, port, wait, local_address, socket_options), self._wait)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        raise httpcore.ConnectError("no address answers")

    def _wait(self, most: float | None) -> float:
        """Seconds that may be waited now. Raises _Late if there are none left."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise _Late
        return left if most is None else min(most, left)


class _Stream(httpcore.NetworkStream):
    """A connection whose every wait is bounded by the deadline, so that a slow trickle ends as well."""

    def __init__(self, stream: httpcore.NetworkStream, wait: Callable[[float | None], float]) -> None:
        self._stream = stream
        self._wait = wait

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._wait(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._wait(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, self._wait(timeout)), self._wait)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
