"""Where a request comes from: a program on this machine, a proxy, a web page, or elsewhere."""

from __future__ import annotations

import ipaddress
import re

from starlette.datastructures import Headers
from starlette.types import Scope

# What proxies, tunnels and content networks add to a request, and clients do not.
_PROXY_HEADERS = re.compile(
    r"forwarded|via|cdn-loop|(x-forwarded|x-original|x-envoy|x-proxy|x-amz-cf|x-amzn-trace|x-arr|x-azure|cf|fly|fastly)"
    r"(-.*)?|(.*-)?(client|real|remote|user|visitor|cluster|source|connecting|true)-?(ip|host|addr|address|port|proto)"
)
_FOREIGN_PAGES = ("cross-site", "same-site")


def why_not_local(scope: Scope) -> str | None:
    """What shows that the request is not from a program on this machine; None if nothing does.

    A page can make the browser of whoever runs the service send requests to it: under a name of the page's own that
    resolves to this machine, which Host tells, or across sites, which Origin and Sec-Fetch-Site tell. HTTP/1.0 is what
    proxies speak that were told nothing else.
    """
    client = scope.get("client")
    if not client or not _is_loopback(client[0]):
        return "it came from another machine"
    headers = Headers(scope=scope)
    for name in headers:
        if _PROXY_HEADERS.fullmatch(name.lower()):
            return f"it came through a proxy, as its header {name[:64]} says"
    if scope.get("http_version", "1.1") in ("1.0", "0.9"):
        return "it came through a proxy, or from a program that speaks HTTP/1.0 as proxies do"
    if not _is_loopback(_host(headers.get("host", "localhost"))):
        return "its Host is not this machine"
    origin = headers.get("origin")
    if origin is not None and not _is_loopback(_host(origin.partition("://")[2])):
        return "a web page of another host sent it, as its Origin says"
    if headers.get("sec-fetch-site") in _FOREIGN_PAGES:
        return "a web page of another site sent it, as its Sec-Fetch-Site says"
    return None


def normalised(address: str) -> str | None:
    """A visitor's address as limits know it: IPv4, or the /64 network of IPv6, which one subscriber has to himself.

    None if it is no address.
    """
    try:
        parsed = ipaddress.ip_address(address.strip().strip("[]").partition("%")[0])
    except ValueError:
        return None
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, 64), strict=False))


def address_of(scope: Scope) -> str:
    """The address that sends the request, as limits know it."""
    client = (scope.get("client") or ("unknown",))[0]
    return normalised(client) or client


def _host(authority: str) -> str:
    """Without its port."""
    return re.sub(r":\d*$", "", authority).strip("[]")


def _is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)
