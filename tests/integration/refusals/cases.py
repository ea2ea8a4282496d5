"""Requests that must be refused, and the check: status, one sentence that names the field, nothing written."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from tests.api import Api, Json, as_base64, beat, error_of

JSON = {"content-type": "application/json"}
ID_64 = "i" * 64
BAD_IDS = {
    "empty": "",
    "a dot first": ".hidden",
    "two dots": "..",
    "a slash": "a/b",
    "a backslash": "a\\b",
    "a space": "a b",
    "a colon": "a:b",
    "a line's end": "a\n",
    "nul": "a\0",
    "umlaut": "mötley",
    "full-width letters": "ａｂｃ",
    "65 characters": ID_64 + "i",
    "a number": 5,
    "a list": ["a"],
}
SONG = as_base64(beat(1))


POSTS = ["/store-upload", "/train", "/train/submit", "/generate"]
HERE = "/data/uploads/refused/j/here.wav"
TRAIN: Json = {"producer_id": "refused", "upload_paths": [HERE], "max_steps": 1}
GENERATE: Json = {"prompt": "trap", "duration_seconds": 1}


@dataclass(frozen=True)
class Case:
    """A request that must be refused with `status` and a sentence that holds all of `names`."""

    name: str
    path: str
    status: int
    names: tuple[str, ...]
    body: Any = None
    method: str = "POST"
    options: dict[str, Any] = field(default_factory=dict)

    def sent(self, client: httpx.Client) -> httpx.Response:
        if self.body is not None:
            # httpx's `json=` cannot write NaN.
            return client.request(self.method, self.path, content=json.dumps(self.body), headers=JSON, **self.options)
        return client.request(self.method, self.path, **self.options)

    def __str__(self) -> str:
        return f"{self.path}: {self.name}"


def cases(*made: Case) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", made, ids=str)


def assert_refused(api: Api, case: Case) -> httpx.Response:
    before = api.stored()
    answer = case.sent(api.client)
    error = error_of(answer, case.status)
    for name in case.names:
        assert name in error
    assert api.stored() == before
    return answer
