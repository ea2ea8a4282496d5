"""The OpenID Connect provider of the tests (npm's oidc-provider), in a process of its own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from scripts.serving import comes_up, free_port, kill_with_this_process, stop
from scripts.web import WEB

AUDIENCE = "urn:twins"
_START_SECONDS = 120


@dataclass(frozen=True)
class Provider:
    """A running provider. Anybody signs in there under any name.

    Attributes:
        url: its issuer.
    """

    url: str

    def rotate(self) -> None:
        """From now on it signs with a new key."""
        httpx.post(f"{self.url}/test/rotate", timeout=60, trust_env=False).raise_for_status()

    def set_lifetime(self, seconds: int) -> None:
        """Of access tokens that it makes from now on."""
        httpx.post(f"{self.url}/test/lifetime", params={"seconds": seconds}, trust_env=False).raise_for_status()

    def asked(self, path: str) -> int:
        """The number of requests for a path."""
        counts: dict[str, Any] = httpx.get(f"{self.url}/test/asked", trust_env=False).json()
        return int(counts.get(path, 0))

    @property
    def environment(self) -> dict[str, str]:
        """The web app's."""
        return {
            "AUTH_ISSUER": self.url,
            "AUTH_CLIENT_ID": "web",
            "AUTH_CLIENT_SECRET": "a secret of the tests",
            "AUTH_PARAMETERS": f"resource={AUDIENCE}&prompt=consent",
            "SESSION_SECRET": "a secret of the tests, which is long enough",
        }


@contextmanager
def served_provider(app: str) -> Iterator[Provider]:
    """A provider that knows the web app at this origin."""
    port = free_port()
    command = ["node", "testing/oidc-provider.mjs", str(port), f"{app}/api/account/callback", f"{app}/"]
    process = subprocess.Popen(
        command, cwd=WEB, env=os.environ | {"NODE_ENV": "test"}, stdout=subprocess.DEVNULL, start_new_session=True
    )
    release = kill_with_this_process(process)
    url = f"http://localhost:{port}"
    try:
        assert comes_up(process, f"{url}/.well-known/openid-configuration", _START_SECONDS)
        yield Provider(url)
    finally:
        stop(process, 10)
        release()
