"""Where the service is, and how a client identifies itself."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

import httpx

from producer_twin.errors import ProducerTwinError

DEFAULT_URL = "http://127.0.0.1:3000"
URL_VARIABLE = "PRODUCER_TWIN_URL"
API_KEY_VARIABLE = "PRODUCER_TWIN_API_KEY"
PASSWORD_VARIABLE = "PRODUCER_TWIN_PASSWORD"  # nosec B105

# Sent to the service only, never to a host to which it redirects.
SECRET_HEADERS = ("authorization", "x-train-password", "x-twin-link")


def package_version() -> str:
    try:
        return version("producer-twin")
    except PackageNotFoundError:  # it is run from its source folder
        return "0"


def base_url(url: str | None) -> str:
    """The URL of the service. Raises ProducerTwinError for a text that is none."""
    text = (url or os.environ.get(URL_VARIABLE) or DEFAULT_URL).strip()
    try:
        parsed = httpx.URL(text)
    except httpx.InvalidURL:
        parsed = httpx.URL()
    if parsed.scheme not in ("http", "https") or not parsed.host:
        remedy = "write it as http://host:port or https://host"
        raise ProducerTwinError(f"{text.rpartition('@')[2]} is no URL of a service; {remedy}")
    return text.rstrip("/")


def headers(api_key: str | None, password: str | None, twin_links: Sequence[str] = ()) -> dict[bytes, bytes]:
    """The headers of every request. A password may have any printable characters, which are sent as UTF-8.

    Raises:
        ProducerTwinError: a secret has a control character.
    """
    found = {b"user-agent": f"producer-twin-python/{package_version()}".encode()}
    if api_key := api_key or os.environ.get(API_KEY_VARIABLE):
        found[b"authorization"] = b"Bearer " + _value("the API key", api_key)
    if password := password or os.environ.get(PASSWORD_VARIABLE):
        found[b"x-train-password"] = _value("the password", password)
    if twin_links:
        found[b"x-twin-link"] = _value("a twin's link", ",".join(twin_links))
    return found


def _value(name: str, secret: str) -> bytes:
    """A header's value. An HTTP client that refuses one would show it in its error."""
    value = secret.strip().encode()  # a file that holds a key ends with a line break
    if any(byte < 32 or byte == 127 for byte in value):
        raise ProducerTwinError(f"{name} has a control character, such as a line break")
    return value


def shown(url: httpx.URL) -> str:
    """The URL for messages, without a user's name, a password and the query, which may hold a signature."""
    return str(url.copy_with(userinfo=b"", query=None))


def is_of_service(url: httpx.URL, service: httpx.URL) -> bool:
    """Whether the URL is of the service's host and port. HTTPS may take the place of HTTP."""
    return (url.host, url.port) == (service.host, service.port) and url.scheme in (service.scheme, "https")
