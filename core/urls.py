"""Which URLs tokens may rest on: HTTPS, or plain HTTP that does not leave this machine."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit


def is_https_or_loopback(url: str) -> bool:
    """Whether the URL is https://, or http:// on this machine; without a user, a query or a fragment."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port  # a malformed port raises
    except ValueError:
        return False
    if not host or parts.username is not None or parts.query or parts.fragment or not url.isprintable():
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(host))


def same_origin(one: str, other: str) -> bool:
    """Whether two URLs have the same scheme, host and port."""
    return _origin(one) == _origin(other)


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"https": 443, "http": 80}.get(parts.scheme)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
