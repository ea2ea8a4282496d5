"""Twins and files as clients handle them: versions, rolling back, uploads that stream, links."""

from __future__ import annotations

import io
import json
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile
from safetensors.numpy import load, save

from tests.api import Api, Json, another, as_base64, beat, checked, decoded, error_of, peak, with_header
from tests.conftest import PASSWORD
from tests.disks import small_disk

CLIP = beat(4, rate=44_100)


@pytest.fixture(scope="module")
def adapter(api: Api) -> bytes:
    """The file of `keeper:first`, which was trained here."""
    path = api.upload("keeper", CLIP, job_id="clip", filename="clip.wav")
    body: Json = {"producer_id": "keeper", "model_name": "first", "upload_paths": [path], "max_steps": 2, "seed": 4}
    api.post("/train", **body)
    return api.client.get("/loras/keeper:first/file").content


def kept(api: Api, adapter: bytes, name: str, factor: float = 1.0) -> str:
    """Make `keeper:<name>` of the adapter, so many times as strong, and answer its version."""
    files = [("x.safetensors", another(adapter, factor))]
    row = checked(imported(api, files, producer_id="keeper", model_name=name, backend="ace_step"))
    version: str = row["version"]
    return version


@pytest.fixture(scope="module")
def versions(api: Api, adapter: bytes) -> list[str]:
    """Two versions of `keeper:two`, the older first."""
    return [kept(api, adapter, "two", factor) for factor in (1, 5)]


def rolled_back(api: Api, version: str) -> Json:
    return api.post("/loras/keeper:two/rollback", version=version)


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
    # A byte of the header is under a digest as well.
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
    assert left in ([], ["lora_versions/keeper/doomed"])  # a folder without a file is nothing
    store = api.server.log.parent / "bentoml"
    assert not [path for path in store.rglob("model.yaml") if "doomed" in path.read_text()]
    for path in ("/loras/keeper:doomed", "/loras/keeper:doomed/versions", "/loras/keeper:doomed/file"):
        error_of(api.client.get(path), 404)


# Import and retraining


def imported(api: Api, files: list[tuple[str, bytes]], **fields: str) -> httpx.Response:
    data = {"producer_id": "guest", "model_name": "brought"} | fields
    return api.client.post("/loras/import", data=data, files=[("file", file) for file in files])


def zipped(files: dict[str, bytes]) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as target:
        for name, data in files.items():
            target.writestr(name, data)
    return archive.getvalue()


def test_a_twin_of_another_service_is_imported(api: Api, versions: list[str]) -> None:
    exported = api.client.get("/loras/keeper:two/file").content
    row = checked(imported(api, [("two.safetensors", exported)], backend="ace_step"))
    assert (row["lora_id"], row["usable"]) == ("guest:brought", True)
    (effect,) = row["notes"]
    assert 0 < float(effect.partition(" by ")[2].split()[0]) < 2
    assert np.array_equal(api.generate(lora_id="guest:brought"), api.generate(lora_id="keeper:two"))
    # As a PEFT folder, in whichever form; without a backend, it is found.
    rolled_back(api, versions[1])  # which makes it the producer's PEFT folder
    config = api.file("/data/models/keeper/adapter_config.json").read_bytes()
    folder = {"x/adapter_model.safetensors": exported, "x/adapter_config.json": config, "x/README.md": b"hello"}
    for files in (
        [("adapter.zip", zipped(folder))],
        [("adapter_model.safetensors", exported), ("adapter_config.json", config)],
    ):
        again = checked(imported(api, files))
        assert (again["version"], again["backend"]) == (row["version"], "ace_step")
    assert "imported" in error_of(api.client.post("/loras/guest:brought/retrain"), 409)


def by_lycoris(adapter: bytes, strength: float = 0.1) -> dict[str, np.ndarray]:
    """LoKr with magnitudes of the inputs, for the layers of a LoRA."""
    source = np.random.default_rng(3)
    made: dict[str, np.ndarray] = {}
    tensors = load(adapter)
    for key, down in tensors.items():
        if key.endswith(".lora_A.weight"):
            out, into = len(tensors[key.replace("lora_A", "lora_B")]), down.shape[1]
            prefix = "lycoris_" + key.removeprefix("base_model.model.").removesuffix(".lora_A.weight").replace(".", "_")
            made[f"{prefix}.lokr_w1"] = source.normal(size=(2, 2)).astype(np.float32) * np.float32(strength)
            made[f"{prefix}.lokr_w2"] = source.normal(size=(out // 2, into // 2)).astype(np.float32)
            made[f"{prefix}.dora_scale"] = np.ones((1, into), np.float32)
            made[f"{prefix}.alpha"] = np.array(2.0, np.float32)
    return made


def test_what_others_made_is_imported_served_exported_and_deleted(api: Api, adapter: bytes) -> None:
    """A zip of Finder's, of LyCORIS' kind: all that can be done with a twin can be done with it."""
    files = {
        "night/": b"",
        "night/lycoris.safetensors": save(by_lycoris(adapter)),
        "__MACOSX/night/._lycoris.safetensors": b"\0\5\x16\7",
        "night/.DS_Store": b"x",
    }
    row = checked(imported(api, [("night.zip", zipped(files))], model_name="kron", backend="ace_step"))
    assert row["usable"] and "of its size" in row["notes"][0]
    sounds = [api.generate(), api.generate(lora_id="guest:kron")]
    assert np.isfinite(sounds[1]).all() and not np.array_equal(sounds[0], sounds[1])
    assert "guest:kron" in [each["lora_id"] for each in api.get("/loras", producer_id="guest")["loras"]]
    file = api.client.get("/loras/guest:kron/file")
    assert file.status_code == 200
    again = checked(imported(api, [("again.safetensors", file.content)], model_name="again", backend="ace_step"))
    assert again["version"] == row["version"]
    for name in ("kron", "again"):
        assert api.get(f"/loras/guest:{name}/versions")["versions"][0]["usable"]
        checked(api.client.delete(f"/loras/guest:{name}"))
        error_of(api.client.get(f"/loras/guest:{name}"), 404)


def test_an_import_says_how_much_it_changes(api: Api, adapter: bytes) -> None:
    """Nothing, too much, or what cannot be."""

    def brought(factor: float, name: str) -> httpx.Response:
        tensors = {key: t * np.float32(factor if "lora_B" in key else 1) for key, t in load(adapter).items()}
        return imported(api, [("x.safetensors", save(tensors))], model_name=name, backend="ace_step")

    for factor, said in ((1e-8, "changes nothing"), (1e5, "more than the weights")):
        row = checked(brought(factor, "measured"))
        assert any(said in note for note in row["notes"]), row["notes"]
        assert np.isfinite(api.generate(lora_id="guest:measured")).all()
    checked(api.client.delete("/loras/guest:measured"))
    reason = error_of(brought(1e38, "absurd"), 400)
    assert "for ace_step" in reason and ("finite" in reason or "their own size" in reason)
    error_of(api.client.get("/loras/guest:absurd"), 404)


def test_bombs_stop_nobody(api: Api, adapter: bytes) -> None:
    """Refused at once, while another client is answered, and without memory."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target, target.open("x.safetensors", "w") as entry:
        for _ in range(16):
            entry.write(bytes(2**24))
    row: Json = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    table = json.dumps({f"t{number}": row for number in range(150_000)}).encode()
    bombs = {"zeros.zip": archive.getvalue(), "many.safetensors": len(table).to_bytes(8, "little") + table}
    front = api.process("ProducerTwin")
    imported(api, [("no.safetensors", bombs["many.safetensors"][:-1])])  # what the body itself takes
    for name, bomb in bombs.items():
        before, begun = peak(front), time.monotonic()
        error_of(imported(api, [(name, bomb)]), 400)
        assert time.monotonic() - begun < 5
        assert peak(front) - before < 64 * 2**20


def test_imports_that_are_refused(api: Api, versions: list[str]) -> None:
    exported = api.client.get("/loras/keeper:two/file").content
    before = api.stored()
    good = ("two.safetensors", exported)
    assert "musicgen" in error_of(imported(api, [good], backend="musicgen"), 400)
    assert "backend: vinyl" in error_of(imported(api, [good], backend="vinyl"), 400)
    assert "producer_id" in error_of(imported(api, [good], producer_id="a/b"), 400)
    assert "safetensors" in error_of(imported(api, [("two.bin", exported)]), 400)
    assert "safetensors" in error_of(imported(api, [("two.safetensors", b"no")]), 400)
    assert "zip" in error_of(
        imported(api, [("two.zip", zipped({"a.safetensors": exported, "b.safetensors": exported}))]), 400
    )
    assert "zip" in error_of(imported(api, [("two.zip", zipped({"a.safetensors": exported})[:-200])]), 400)
    old = with_header(exported, base_sha256="0" * 64)
    assert "another checkpoint" in error_of(imported(api, [("old.safetensors", old)], backend="ace_step"), 400)
    assert api.stored() == before


def test_a_twin_of_an_old_checkpoint_is_trained_again(api: Api, adapter: bytes) -> None:
    path = api.file("/data/loras/keeper_first.safetensors")
    path.write_bytes(another(adapter, 3, base_sha256="0" * 64))
    assert "/loras/keeper:first/retrain" in api.get("/loras/keeper:first")["reason"]
    api.file("/data/uploads/keeper/clip/clip.wav").unlink()
    begun = api.post("/loras/keeper:first/retrain")
    job = api.ended(begun["job_id"])
    assert job["state"] == "done", job
    row = api.get("/loras/keeper:first")
    assert row["usable"] and job["total_steps"] == 2 and row["sha256"] in adapter.decode("latin-1")
    assert [each["job_id"] for each in api.get("/loras/keeper:first/versions")["versions"]] == [job["job_id"]]
    assert "keeper:nobody" in error_of(api.client.post("/loras/keeper:nobody/retrain"), 404)


# Uploads


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
    for size in (120_000, 400_000):  # more than a file may have, and more than the whole form
        files = {"file": ("a.wav", bytes(size))}
        answer = strict.client.post("/uploads", files=files, data={"producer_id": "p"}, headers=headers)
        assert "file" in error_of(answer, 413)
    assert strict.stored() == before


# Producers


def test_what_one_producer_may_store(strict: Api) -> None:
    headers = {b"x-train-password": PASSWORD.encode()}
    song = beat(2.5, rate=8_000)
    assert 75_000 < len(song) < 100_000

    def upload(job: str) -> httpx.Response:
        fields = {"producer_id": "greedy", "job_id": job}
        return strict.client.post("/uploads", files={"file": song}, data=fields, headers=headers)

    checked(upload("one"))
    checked(upload("one"))  # it is there already
    assert "greedy" in error_of(upload("two"), 507)
    body = {"producer_id": "greedy", "content_base64": as_base64(song)}
    assert "PRODUCER" not in error_of(strict.client.post("/store-upload", json=body, headers=headers), 507)
    usage = strict.get("/producers/greedy")
    assert (usage["bytes"], usage["limit"], usage["by"]) == (len(song), 150_000, {"uploads": len(song)})
    error_of(strict.client.delete("/producers/greedy"), 401)
    checked(strict.client.delete("/producers/greedy", headers=headers))
    checked(upload("two"))


def test_all_that_belongs_to_a_producer_goes(api: Api) -> None:
    path = api.upload("leaver", CLIP, job_id="clip", filename="clip.wav")
    neighbour = api.upload("leaver_too", CLIP, job_id="clip", filename="clip.wav")
    job = api.post("/train", producer_id="leaver", model_name="last", upload_paths=[path], max_steps=1)["job_id"]
    api.generate(lora_id="leaver:last", duration_seconds=1)
    usage = api.get("/producers/leaver")
    assert usage["bytes"] > len(CLIP) and usage["by"]["outputs"] > 0 and usage["by"]["lora_versions"] > 0
    gone = checked(api.client.delete("/producers/leaver"))
    assert {path, "/data/loras/leaver_last.safetensors", f"/data/jobs/{job}.json"} <= set(gone["deleted"])
    assert gone["bytes"] >= usage["bytes"]
    left = [name for name, is_file in api.stored().items() if is_file and ("leaver" in name or job in name)]
    assert left == [neighbour.removeprefix("/data/")]
    error_of(api.client.get("/loras/leaver:last"), 404)
    error_of(api.client.get(f"/jobs/{job}"), 404)
    assert "leaver" in error_of(api.client.delete("/producers/leaver"), 404)


# Links


def test_a_track_as_a_link(api: Api) -> None:
    body: Json = {"prompt": "dark trap", "duration_seconds": 2, "seed": 7}
    made = api.post("/generate", **body, response="url")
    assert made["url"] == made["output_path"] and "audio_base64" not in made
    whole = api.client.get(made["url"])
    assert whole.headers["content-type"] == "audio/wav" and whole.headers["accept-ranges"] == "bytes"
    assert np.array_equal(decoded(whole.content)[0], api.generate())
    part = api.client.get(made["url"], headers={"range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, whole.content[100:200])
    assert part.headers["content-range"] == f"bytes 100-199/{len(whole.content)}"
    error_of(api.client.get(made["url"], headers={"range": f"bytes={len(whole.content)}-"}), 416)
    assert api.client.head(made["url"]).headers["content-length"] == str(len(whole.content))
    opus = api.post("/generate", **body, response="url", output_format="opus")
    fetched = api.client.get(opus["url"])
    assert fetched.headers["content-type"] == "audio/ogg"
    assert soundfile.info(io.BytesIO(fetched.content)).subtype == "OPUS"


def test_only_tracks_are_served(api: Api, versions: list[str]) -> None:
    secret = "loras/keeper_two.safetensors"
    assert api.file(f"/data/{secret}").is_file()
    for path in (f"/data/{secret}", f"/data/outputs/../{secret}", f"/data/outputs/%2e%2e/{secret}"):
        error_of(api.client.get(path), 404)
