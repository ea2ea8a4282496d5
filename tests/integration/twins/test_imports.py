"""Imported adapters: their effect is measured, bad ones are refused."""

from __future__ import annotations

import io
import json
import time
import zipfile

import httpx
import numpy as np
from safetensors.numpy import load, save

from tests.adapter_files import with_header
from tests.api import Api, Json, checked, error_of, peak
from tests.integration.twins.conftest import imported, rolled_back, zipped


def test_a_twin_of_another_service_is_imported(api: Api, versions: list[str]) -> None:
    exported = api.client.get("/loras/keeper:two/file").content
    row = checked(imported(api, [("two.safetensors", exported)], backend="ace_step"))
    assert (row["lora_id"], row["usable"]) == ("guest:brought", True)
    (effect,) = row["notes"]
    assert 0 < float(effect.partition(" by ")[2].split()[0]) < 2
    assert np.array_equal(api.generate(lora_id="guest:brought"), api.generate(lora_id="keeper:two"))
    # As a PEFT folder, zipped or as two files; the backend is found if it is not named.
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
    """A LoKr adapter with DoRA magnitudes, for the layers of a LoRA."""
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
    """An adapter of LyCORIS, zipped by macOS' Finder, can be used as any other twin."""
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
    """The notes say that it changes nothing or too much; what is not finite is refused."""

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
    """They are refused within seconds, without much memory."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target, target.open("x.safetensors", "w") as entry:
        for _ in range(16):
            entry.write(bytes(2**24))
    row: Json = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    table = json.dumps({f"t{number}": row for number in range(150_000)}).encode()
    bombs = {"zeros.zip": archive.getvalue(), "many.safetensors": len(table).to_bytes(8, "little") + table}
    front = api.process("ProducerTwin")
    imported(
        api, [("no.safetensors", bombs["many.safetensors"][:-1])]
    )  # so that `before` has the memory of the body itself
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
