"""The key by which the service knows a request that is sent again, and makes nothing twice."""

from __future__ import annotations

import uuid


def idempotent(key: str | None = None) -> dict[str, str]:
    """The header of a request that makes something.

    Args:
        key: the caller's own; a new one if left out.
    """
    return {"idempotency-key": key or str(uuid.uuid4())}
