"""A check of Schemathesis for every answer; tests/stress/contract_fuzz.py uses it."""

from __future__ import annotations

import json
from typing import Any

import schemathesis

# 503 is the answer to more requests at once than the server takes.
_EXPECTED_FAILURES = {503}


@schemathesis.check
def one_shape(ctx: Any, response: Any, case: Any) -> None:
    """No 5xx, and every error is `{"error": "one line"}`."""
    status = response.status_code
    assert status < 500 or status in _EXPECTED_FAILURES, f"{status}: {response.content[:300]!r}"
    if status >= 400 and case.method.upper() != "HEAD":
        document = json.loads(response.content)
        assert list(document) == ["error"], document
        error = document["error"]
        assert isinstance(error, str) and error.strip() and "\n" not in error, document
