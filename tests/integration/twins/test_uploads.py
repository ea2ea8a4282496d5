"""Uploads as forms: fields, refusals, large files, a full disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile

from tests.adapter_files import with_header
from tests.api import Api, Json, as_base64, beat, checked, error_of, peak
from tests.conftest import PASSWORD
from tests.disks import small_disk
from tests.integration.twins.conftest import CLIP


def sent(api: Api, data: bytes, name: str = "beat.wav", **fields: str) -> httpx.Response:
    return api.client.post("/uploads", files={"file": (name, data)}, data=fields)


def test_a_form_does_what_store_upload_does(api: Api) -> None:
    answer = checked(sent(api, CLIP, producer_id="forms", job_id="j", filename="a b.wav"))
    assert answer == {
        "path": "/data/uploads/forms/j/a b.wav",
        "producer_id": "forms",
        "job_id": "j",
        "warnings": [],
    }
    assert api.file(answer["path"]).read_bytes() == CLIP
    assert api.upload("forms", CLIP, job_id="j", filename="a b.wav") == answer["path"]
    assert checked(sent(api, CLIP, producerId="forms", jobId="j", filename="a b.wav")) == answer
    other = sent(api, beat(1), producer_id="forms", job_id="j", filename="a b.wav")
    assert "another file" in error_of(other, 409)
    assert api.file(answer["path"]).read_bytes() == CLIP
    named = checked(sent(api, CLIP, "../Ünter.wav", producer_id="forms", job_id=""))
    assert named["path"] == f"/data/uploads/forms/{named['job_id']}/Ünter.wav"


def test_forms_that_are_refused(api: Api) -> None:
    before = api.stored()
    good = {"producer_id": "forms"}
    assert "producer_id" in error_of(sent(api, CLIP), 400)
    assert "colour" in error_of(sent(api, CLIP, colour="red", **good), 400)
    assert "file: it is not audio" in error_of(sent(api, b"no audio at all", **good), 400)
    assert "cut off" in error_of(sent(api, CLIP[:-1000], **good), 400)
    assert "file" in error_of(api.client.post("/uploads", data=good, files={"song": CLIP}), 400)
    assert "content-type" in error_of(api.client.post("/uploads", json=good), 415)
    torn = {"content-type": "multipart/form-data; boundary=x"}
    error_of(api.client.post("/uploads", content=b"--x\r\nnonsense", headers=torn), 400)
    error_of(api.client.post("/uploads", content=b"", headers={"content-type": "multipart/form-data"}), 400)
    link: Json = {"producer_id": "forms", "bytes": 1000}
    assert "/uploads" in error_of(api.client.post("/uploads/link", json=link), 409)
    assert api.stored() == before


def test_half_a_gigabyte_takes_no_memory(api: Api, tmp_path: Path) -> None:
    large = tmp_path / "large.wav"
    rate = 96_000
    with soundfile.SoundFile(large, "w", rate, 2, subtype="FLOAT") as file:
        block = np.random.default_rng(0).uniform(-0.5, 0.5, (rate * 10, 2)).astype(np.float32)
        for _ in range(66):
            file.write(block)
    assert large.stat().st_size > 500_000_000
    front = api.process("ProducerTwin")
    sent(api, CLIP, producer_id="large")
    before = peak(front)
    with large.open("rb") as body:
        answer = api.client.post("/uploads", files={"file": body}, data={"producer_id": "large", "job_id": "j"})
    path = api.file(checked(answer)["path"])
    grown = peak(front) - before
    assert path.stat().st_size == large.stat().st_size
    path.unlink()
    assert grown <= 64 * 2**20, f"{grown / 2**20:.0f} MiB"


@pytest.fixture
def small(api: Api) -> Iterator[str]:
    """A producer whose uploads and tracks lie on file systems of 1 MB."""
    with small_disk(api.folder / "uploads/small", 2**20), small_disk(api.folder / "outputs/twins/small", 2**20):
        yield "small"


def test_a_full_disk_is_507_and_all_is_well_afterwards(api: Api, versions: list[str], small: str) -> None:
    large, little = beat(8), beat(1)
    assert len(large) > 2**20 > len(little) * 2
    exported = with_header(api.client.get("/loras/keeper:two/file").content, producer_id=small)
    api.file("/data/loras/small_two.safetensors").write_bytes(exported)
    before = api.stored()
    for answer in (
        sent(api, large, producer_id=small, job_id="j"),
        api.client.post("/store-upload", json={"producer_id": small, "content_base64": as_base64(large)}),
        api.client.post("/generate", json={"prompt": "x", "lora_id": "small:two", "duration_seconds": 8, "seed": 1}),
    ):
        assert "full" in error_of(answer, 507)
    assert {name for name, is_file in api.stored().items() if is_file} == {
        n for n, is_file in before.items() if is_file
    }
    assert checked(sent(api, little, producer_id=small, job_id="j"))["path"]
    api.generate(lora_id="small:two", duration_seconds=1)


def test_a_file_over_the_limit(strict: Api) -> None:
    headers = {b"x-train-password": PASSWORD.encode()}
    before = strict.stored()
    for size in (120_000, 400_000):  # over the limit of a file, and over that of the whole form
        files = {"file": ("a.wav", bytes(size))}
        answer = strict.client.post("/uploads", files=files, data={"producer_id": "p"}, headers=headers)
        assert "file" in error_of(answer, 413)
    assert strict.stored() == before
