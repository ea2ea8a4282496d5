"""Tracks of the library, made by the service of the session."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.api import Api

Make = Callable[..., str]


@pytest.fixture(scope="session")
def make(api: Api) -> Make:
    """Make a track by the API; its id in the library."""

    def made(prompt: str, **body: object) -> str:
        body = {"duration_seconds": 2, "seed": 7} | body
        path: str = api.post("/generate", prompt=prompt, response="url", **body)["output_path"]
        return path.removeprefix("/data/outputs/").rpartition(".")[0].replace("/", ":")

    return made
