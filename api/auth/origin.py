"""Where a request comes from: a program on this machine, a proxy, a web page, or elsewhere."""

from __future__ import annotations

import ipaddress
import re

from starlette.datastructures import Headers
from starlette.types import Scope

# Headers that proxies, tunnels and content delivery networks add, and clients do not.
_PROXY_HEADERS = re.compile(
    r"forwarded|via|cdn-loop|max-forwards|surrogate-capability|front-end-https|x-scheme|x-host|(http-)?x-forwarded.*"
    r"|(x-original|x-rewrite|x-envoy|x-proxy|x-amz-cf|x-amzn-trace|x-arr|x-azure|x-appengine|x-vercel|x-nf|x-akamai"
    r"|akamai|cf|cloudfront|fly|fastly|ngrok|proxy|x-varnish|x-nginx)(-.*)?"
    r"|(.*-)?(client|real|remote|user|visitor|cluster|source|connecting|connection|true)"
    r"-?(ip|host|addr|address|port|proto)"
)
_OWN_PAGES = ("same-origin", "none")


def why_not_local(scope: Scope) -> str | None:
    """Why the request cannot be from a program on this machine; None if it can.

    A web page can make the operator's browser send requests here: by a name of the page's own that resolves to this
    machine (DNS rebinding), which shows in Host, or across sites, which shows in Origin and Sec-Fetch-Site. Proxies
    speak HTTP/1.0 by default.
    """
    client = scope.get("client")
    if not client or not _is_loopback(client[0]):
        return "it came from another machine"
    headers = Headers(scope=scope)
    for name in headers:
        if _PROXY_HEADERS.fullmatch(name.lower().replace("_", "-")):
            return f"it came through a proxy, as its header {name[:64]} says"
    if scope.get("http_version", "1.1") in ("1.0", "0.9"):
        return "it came through a proxy, or from a program that speaks HTTP/1.0 as proxies do"
    if not all(_is_loopback(_host(host)) for host in headers.getlist("host")):
        return "its Host is not this machine"
    if not all(_is_loopback(_host(origin.partition("://")[2])) for origin in headers.getlist("origin")):
        return "a web page of another host sent it, as its Origin says"
    if not all(site.strip().lower() in _OWN_PAGES for site in headers.getlist("sec-fetch-site")):
        return "a web page of another site sent it, as its Sec-Fetch-Site says"
    return None


def normalised(address: str) -> str | None:
    """An address as limits count it: IPv4, or the /64 network of IPv6, since one subscriber has all of that.

    None if it is not an address.
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
    """The address that the request comes from, as limits count it."""
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
