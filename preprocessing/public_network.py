"""Network connections to public addresses only, against server-side request forgery.

The host name is resolved here, all its addresses are checked, and the connection goes to a checked address, so DNS
rebinding has no effect. (httpx-secure connects to an address before it checks it, which reveals open internal ports.)
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
import time
from collections.abc import Callable, Iterable
from typing import Any

import httpcore

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
AddressCheck = Callable[[Address], bool]

# By IANA's registries of special-purpose addresses; `is_global` differs between versions of Python.
_NOT_PUBLIC = [
    ipaddress.ip_network(network)
    for network in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24"),
        *("203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
        "168.63.129.16/32",  # Azure's platform services, on an address that looks public
        # Teredo (in 2001::/23) and 6to4 (2002::/16) embed an IPv4 address.
        *("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"),
    )
]
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def is_public(address: Address) -> bool:
    """Whether anyone on the internet may reach this address."""
    embedded = _embedded_ipv4(address)
    if embedded is not None:
        return is_public(embedded)
    if any(address in network for network in _NOT_PUBLIC if network.version == address.version):
        return False
    return address.version == 4 or address in _GLOBAL_UNICAST


def _embedded_ipv4(address: Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that an IPv6 address maps or translates to, if it does."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return address.ipv4_mapped
        if address in _NAT64:
            return ipaddress.IPv4Address(address.packed[-4:])
    return None


def literal_address(host: str) -> Address | None:
    """The address that a host is, in any notation that resolvers accept (`127.1`, `0x7f000001`); None for a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except (OSError, ValueError):
        return None


class NotPublic(Exception):
    """The host has an address that may not be connected to."""


class DeadlineExceeded(Exception):
    """The time for the whole transfer is up."""


class PublicBackend(httpcore.NetworkBackend):
    """httpcore's TCP connections, to allowed addresses only, with every wait bounded by a deadline.

    Args:
        is_allowed: which addresses may be connected to.
        deadline: by `time.monotonic`.
    """

    def __init__(self, is_allowed: AddressCheck, deadline: float) -> None:
        self._is_allowed = is_allowed
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
        # All must be allowed: a name with a public and a private address is an attack.
        if not all(self._is_allowed(ipaddress.ip_address(address)) for address in addresses):
            raise NotPublic
        for address in addresses:
            try:
                wait = self._wait(timeout) / len(addresses)
                return _Stream(self._plain.connect_tcp(address, port, wait, local_address, socket_options), self._wait)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        raise httpcore.ConnectError("no address answers")

    def _wait(self, timeout: float | None) -> float:
        """The timeout of the next operation in seconds. Raises DeadlineExceeded if no time is left."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise DeadlineExceeded
        return left if timeout is None else min(timeout, left)


class _Stream(httpcore.NetworkStream):
    """A connection with every wait bounded by the deadline, so that a slow trickle of bytes ends as well."""

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
