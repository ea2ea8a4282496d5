"""Which URLs settings may name: of any web server, or where tokens rest on it, of HTTPS or this machine alone."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit


def is_http(url: str) -> bool:
    """Whether the URL is http(s)://; without a user, a query or a fragment."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port  # a malformed port raises
    except ValueError:
        return False
    if not host or parts.username is not None or parts.query or parts.fragment or not url.isprintable():
        return False
    return parts.scheme in ("http", "https")


def is_https_or_loopback(url: str) -> bool:
    """Whether the URL is https://, or http:// on this machine; without a user, a query or a fragment."""
    return is_http(url) and (urlsplit(url).scheme == "https" or _is_loopback(urlsplit(url).hostname or ""))


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
