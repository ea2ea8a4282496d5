"""Versions of a twin: listed, asked for, rolled back to, exported, checked by digest, deleted, trained again."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.adapter_files import scaled
from tests.api import Api, checked, error_of
from tests.integration.twins.conftest import kept, rolled_back


def test_versions_are_listed(api: Api, versions: list[str]) -> None:
    old, new = versions
    rows = api.get("/loras/keeper:two/versions")["versions"]
    assert [(row["version"], row["current"], row["usable"]) for row in rows] == [(new, True, True), (old, False, True)]


def test_a_version_is_asked_for_and_rolled_back_to(api: Api, versions: list[str]) -> None:
    old, new = versions
    sounds = {version: api.generate(lora_id=f"keeper:two@{version}") for version in versions}
    assert not np.array_equal(sounds[old], sounds[new])
    assert np.array_equal(api.generate(lora_id="keeper:two"), sounds[new])
    assert rolled_back(api, old)["version"] == old
    assert np.array_equal(api.generate(lora_id="keeper:two"), sounds[old])
    assert np.array_equal(api.generate(lora_id=f"keeper:two@{new}"), sounds[new])
    stored = [
        api.file(f"/data/{path}").read_bytes()
        for path in ("loras/keeper_two", "lora_versions/keeper/two/" + old)
        for path in [path + ".safetensors"]
    ]
    assert stored[0] == stored[1] == api.file("/data/models/keeper/adapter_model.safetensors").read_bytes()
    assert rolled_back(api, new)["version"] == new


def test_a_version_that_is_not_there(api: Api, versions: list[str]) -> None:
    gone = "0" * 16
    for answer in (
        api.client.post("/loras/keeper:two/rollback", json={"version": gone}),
        api.client.post("/generate", json={"prompt": "x", "lora_id": f"keeper:two@{gone}"}),
        api.client.get("/loras/keeper:two/file", params={"version": gone}),
    ):
        assert f"keeper:two@{gone}" in error_of(answer, 404)
    assert "version" in error_of(api.client.post("/loras/keeper:two/rollback", json={"version": "latest"}), 400)
    assert "version" in error_of(api.client.post("/loras/keeper:two/rollback", json={}), 400)


def test_the_file_is_exported(api: Api, versions: list[str]) -> None:
    for version in versions:
        answer = api.client.get("/loras/keeper:two/file", params={"version": version})
        assert answer.content == api.file(f"/data/lora_versions/keeper/two/{version}.safetensors").read_bytes()
        assert answer.headers["x-version"] == version
        assert "keeper_two.safetensors" in answer.headers["content-disposition"]


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def test_a_flipped_byte_is_refused_or_fetched_from_another_copy(api: Api, adapter: bytes) -> None:
    version = kept(api, adapter, "flipped", 2)
    copies = ["loras/keeper_flipped", "models/keeper/adapter_model", f"lora_versions/keeper/flipped/{version}"]
    files = [api.file(f"/data/{copy}.safetensors") for copy in copies]
    whole = files[0].read_bytes()
    for file in files[:2]:
        flip(file)
    answer = api.client.get("/loras/keeper:flipped/file")
    assert answer.content == whole
    sound = api.generate(lora_id="keeper:flipped")
    assert not np.array_equal(sound, api.generate())
    flip(files[2])
    assert "damaged" in error_of(api.client.get("/loras/keeper:flipped/file"), 404)
    # The header has a digest too.
    header = bytearray(whole)
    header[header.index(b'"rank"') + 9] ^= 1
    for file in files:
        file.write_bytes(header)
    assert "digest" in error_of(api.client.get("/loras/keeper:flipped"), 404)


def test_deleting_leaves_nothing(api: Api, adapter: bytes) -> None:
    for factor in (1, 2):
        kept(api, adapter, "doomed", factor)
    checked(api.client.delete("/loras/keeper:doomed"))
    left = [name for name in api.stored() if "doomed" in name and not name.startswith(("jobs", "job_data"))]
    assert left in ([], ["lora_versions/keeper/doomed"])  # an empty folder may stay
    store = api.server.log.parent / "bentoml"
    assert not [path for path in store.rglob("model.yaml") if "doomed" in path.read_text()]
    for path in ("/loras/keeper:doomed", "/loras/keeper:doomed/versions", "/loras/keeper:doomed/file"):
        error_of(api.client.get(path), 404)


# The last test: it makes `keeper:first` the producer's newest twin, which the tests above do not expect.
def test_a_twin_of_an_old_checkpoint_is_trained_again(api: Api, adapter: bytes) -> None:
    path = api.file("/data/loras/keeper_first.safetensors")
    path.write_bytes(scaled(adapter, 3, base_sha256="0" * 64))
    assert "/loras/keeper:first/retrain" in api.get("/loras/keeper:first")["reason"]
    api.file("/data/uploads/keeper/clip/clip.wav").unlink()
    begun = api.post("/loras/keeper:first/retrain")
    job = api.ended(begun["job_id"])
    assert job["state"] == "done", job
    row = api.get("/loras/keeper:first")
    assert row["usable"] and job["total_steps"] == 2 and row["sha256"] in adapter.decode("latin-1")
    assert [each["job_id"] for each in api.get("/loras/keeper:first/versions")["versions"]] == [job["job_id"]]
    assert "keeper:nobody" in error_of(api.client.post("/loras/keeper:nobody/retrain"), 404)
