"""Schemathesis' hook: what must hold for every answer, whatever was asked. tests/stress/contract_fuzz.py runs it."""

from __future__ import annotations

import json
from typing import Any

import schemathesis

# Not able for a while: more at once than there is room for.
_EXCUSED = {503}


@schemathesis.check
def one_shape(ctx: Any, response: Any, case: Any) -> None:
    """No failure of ours, and every error is `{"error": "one line"}`."""
    status = response.status_code
    assert status < 500 or status in _EXCUSED, f"{status}: {response.content[:300]!r}"
    if status >= 400 and case.method.upper() != "HEAD":
        document = json.loads(response.content)
        assert list(document) == ["error"], document
        error = document["error"]
        assert isinstance(error, str) and error.strip() and "\n" not in error, document
