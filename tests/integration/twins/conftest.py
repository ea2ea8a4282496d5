"""A trained twin and two versions of it, for the tests of this folder."""

from __future__ import annotations

import io
import zipfile

import httpx
import pytest

from tests.adapter_files import scaled
from tests.api import Api, Json, beat, checked

CLIP = beat(4, rate=44_100)


@pytest.fixture(scope="package")
def adapter(api: Api) -> bytes:
    """Train `keeper:first`. Returns its file."""
    path = api.upload("keeper", CLIP, job_id="clip", filename="clip.wav")
    body: Json = {"producer_id": "keeper", "model_name": "first", "upload_paths": [path], "max_steps": 2, "seed": 4}
    api.post("/train", **body)
    return api.client.get("/loras/keeper:first/file").content


def kept(api: Api, adapter: bytes, name: str, factor: float = 1.0) -> str:
    """Import the adapter, multiplied by `factor`, as `keeper:<name>`. Returns its version."""
    files = [("x.safetensors", scaled(adapter, factor))]
    row = checked(imported(api, files, producer_id="keeper", model_name=name, backend="ace_step"))
    version: str = row["version"]
    return version


@pytest.fixture(scope="package")
def versions(api: Api, adapter: bytes) -> list[str]:
    """Two versions of `keeper:two`, the older first."""
    return [kept(api, adapter, "two", factor) for factor in (1, 5)]


def rolled_back(api: Api, version: str) -> Json:
    return api.post("/loras/keeper:two/rollback", version=version)


def imported(api: Api, files: list[tuple[str, bytes]], **fields: str) -> httpx.Response:
    data = {"producer_id": "guest", "model_name": "brought"} | fields
    return api.client.post("/loras/import", data=data, files=[("file", file) for file in files])


def zipped(files: dict[str, bytes]) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as target:
        for name, data in files.items():
            target.writestr(name, data)
    return archive.getvalue()
