"""Where the service is, and how a client identifies itself."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

DEFAULT_URL = "http://127.0.0.1:3000"
URL_VARIABLE = "PRODUCER_TWIN_URL"
API_KEY_VARIABLE = "PRODUCER_TWIN_API_KEY"
PASSWORD_VARIABLE = "PRODUCER_TWIN_PASSWORD"


def package_version() -> str:
    try:
        return version("producer-twin")
    except PackageNotFoundError:  # it is run from its source folder
        return "0"


def base_url(url: str | None) -> str:
    return (url or os.environ.get(URL_VARIABLE) or DEFAULT_URL).rstrip("/")


def headers(api_key: str | None, password: str | None, twin_links: Sequence[str] = ()) -> dict[bytes, bytes]:
    """The headers of every request. A password may have any characters, which are sent as UTF-8."""
    found = {b"user-agent": f"producer-twin-python/{package_version()}".encode()}
    if api_key := api_key or os.environ.get(API_KEY_VARIABLE):
        found[b"authorization"] = f"Bearer {api_key}".encode()
    if password := password or os.environ.get(PASSWORD_VARIABLE):
        found[b"x-train-password"] = password.encode()
    if twin_links:
        found[b"x-twin-link"] = ",".join(twin_links).encode()
    return found
