"""The header `Idempotency-Key`, by which a request that is sent again is known."""

from __future__ import annotations

import hashlib
import re

from core import principal
from core.errors import Refusal
from core.text import shown

HEADER = "idempotency-key"
# A string of RFC 9651 (in quotes), or the same without quotes, as most clients send it.
_KEY = re.compile(r'"([\x20\x21\x23-\x5b\x5d-\x7e]{1,255})"|([\x21\x23-\x5b\x5d-\x7e]{1,255})')


def key_digest(given: list[str]) -> str:
    """The digest of the header's values and the caller. Raises Refusal (400): it is not one key."""
    match = _KEY.fullmatch(given[0].strip()) if len(given) == 1 else None
    if match is None:
        raise Refusal(400, f"{HEADER}: {shown(given[0])} is not a key; send one of 1 to 255 characters, such as a UUID")
    caller = principal.current().askers[-1]
    return hashlib.sha256(f"{caller}\n{match[1] or match[2]}".encode()).hexdigest()
