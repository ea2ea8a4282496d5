"""Submitted tracks are looked at more often than in a server, and leases end sooner."""

from __future__ import annotations

import pytest

from generation.submission import submissions as module
from storage import leases


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POLL_SECONDS", 0.05)
    monkeypatch.setattr(module, "_FIRST_WAIT_SECONDS", 0.05)
    monkeypatch.setattr(leases, "RENEW", 0.1)
    monkeypatch.setattr(leases, "EXPIRY", 0.6)
