"""Signatures by the Standard Webhooks specification (standardwebhooks.com), version 1: HMAC-SHA256."""

from __future__ import annotations

import base64
import hashlib
import hmac


def headers(secret: str, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers of a message.

    Args:
        secret: `whsec_` and the key in base64.
        timestamp: of this try, in seconds since 1970.
    """
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{message_id}.{timestamp}.".encode() + body
    signature = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{signature}",
    }
