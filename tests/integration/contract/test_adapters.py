"""Adapters in storage: listed, blended, found at either path, skipped if damaged, deleted."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load

from adapters.adapter_file import header_length
from tests.adapter_files import header_of, sealed, with_header
from tests.api import Api, beat, both_backends, checked, error_of
from tests.conftest import Twin

LORA_KEYS = {
    *("lora_id", "producer_id", "model_name", "backend", "version", "rank", "base", "bpm", "usable", "reason"),
    *("recommended_scale", "created_at", "bytes", "sha256"),
}


def test_twins_are_listed(api: Api, twins: dict[str, Twin]) -> None:
    rows = {row["lora_id"]: row for row in api.get("/loras", producer_id="studio")["loras"]}
    assert rows.keys() == {twin.lora_id for twin in twins.values()}
    for twin in twins.values():
        row, file = rows[twin.lora_id], api.file(twin.result["lora_path"]).read_bytes()
        assert row.keys() == LORA_KEYS
        assert row == api.get(f"/loras/{twin.lora_id}")
        assert (row["backend"], row["usable"], row["reason"]) == (twin.backend, True, None)
        assert row["bytes"] == len(file)
        assert row["sha256"] == hashlib.sha256(file[8 + header_length(file) :]).hexdigest()
    assert rows.keys() <= {row["lora_id"] for row in api.get("/loras")["loras"]}
    assert api.get("/loras", producerId="nobody") == {"loras": []}


def adapter_of(api: Api, twin: Twin, producer: str, model: str = "twin", **fields: str) -> bytes:
    """The twin's adapter under another name."""
    data = api.file(twin.result["lora_path"]).read_bytes()
    return with_header(data, producer_id=producer, model_name=model, **fields)


def paths(api: Api, producer: str, model: str = "twin") -> list[Path]:
    return [
        api.folder / f"loras/{producer}_{model}.safetensors",
        api.folder / f"models/{producer}/adapter_model.safetensors",
    ]


def put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


@both_backends
def test_a_blend_has_the_strength_of_one(api: Api, twins: dict[str, Twin], backend: str) -> None:
    """A blend of a twin and its copy equals the twin, whatever the weights add up to."""
    one, double = twins[backend].lora_id, f"double{backend}:twin"
    put(paths(api, f"double{backend}")[0], adapter_of(api, twins[backend], f"double{backend}"))
    blend = [{"lora_id": one, "weight": 1}, {"loraId": double}]
    assert np.abs(api.generate(loras=blend) - api.generate(lora_id=one)).max() <= 1.01 / 32768
    half = api.generate(loras=[{"lora_id": one, "weight": 0.3}, {"lora_id": double, "weight": 0.3}], lora_scale=0.5)
    assert np.abs(half - api.generate(lora_id=one, lora_scale=0.5)).max() <= 1.01 / 32768
    cancelled = api.generate(loras=[{"lora_id": one, "weight": 1}, {"lora_id": double, "weight": -1}], bpm=120)
    assert np.abs(cancelled - api.generate(backend_override=backend, bpm=120)).max() <= 0.01


@both_backends
@pytest.mark.parametrize("place", [0, 1])
def test_a_twin_is_found_at_either_path(api: Api, twins: dict[str, Twin], backend: str, place: int) -> None:
    producer = f"either{place}{backend}"
    put(paths(api, producer)[place], adapter_of(api, twins[backend], producer))
    assert api.get(f"/loras/{producer}:twin")["backend"] == backend
    found = api.generate(lora_id=f"{producer}:twin")
    assert np.array_equal(found, api.generate(lora_id=twins[backend].lora_id))


def misshapen(adapter: bytes) -> bytes:
    """The same adapter with one column less in a layer, and a valid header and digest."""
    tensors = load(adapter)
    name = min(name for name in tensors if name.endswith("lora_A.weight"))
    tensors[name] = np.ascontiguousarray(tensors[name][:, :-1])
    return sealed(tensors, header_of(adapter))


DAMAGE = {
    "placeholder": lambda adapter: b"placeholder",
    "empty": lambda adapter: b"",
    "truncated": lambda adapter: adapter[:-100],
    "misshapen": misshapen,
}


@both_backends
@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_file_is_skipped_and_never_replaced_by_the_base_model(
    api: Api, twins: dict[str, Twin], backend: str, kind: str
) -> None:
    producer = f"{kind}_{backend}"
    lora_id = f"{producer}:twin"
    whole = adapter_of(api, twins[backend], producer)
    first, second = paths(api, producer)
    put(first, DAMAGE[kind](whole))
    body = {"prompt": "x", "duration_seconds": 1, "lora_id": lora_id}
    error = error_of(api.client.post("/generate", json=body), 404)
    assert lora_id in error and "lora_id" in error
    put(second, whole)
    assert np.array_equal(api.generate(lora_id=lora_id), api.generate(lora_id=twins[backend].lora_id))


@pytest.mark.parametrize("kind", ["placeholder", "empty", "truncated"])
def test_the_error_names_the_file_that_was_skipped(api: Api, twins: dict[str, Twin], kind: str) -> None:
    producer = f"named_{kind}"
    for path in paths(api, producer):
        put(path, DAMAGE[kind](adapter_of(api, twins["ace_step"], producer)))
    body = {"prompt": "x", "duration_seconds": 1, "lora_id": f"{producer}:twin"}
    for answer in (api.client.post("/generate", json=body), api.client.get(f"/loras/{producer}:twin")):
        error = error_of(answer, 404)
        for path in paths(api, producer):
            assert f"/data/{path.relative_to(api.folder).as_posix()}" in error


def test_a_twin_of_another_checkpoint_is_to_be_trained_again(api: Api, twins: dict[str, Twin]) -> None:
    put(paths(api, "old")[0], adapter_of(api, twins["ace_step"], "old", base_sha256="0" * 64))
    row = api.get("/loras/old:twin")
    assert row["usable"] is False and "train it again" in row["reason"]
    body = {"prompt": "x", "duration_seconds": 1, "lora_id": "old:twin"}
    assert "train it again" in error_of(api.client.post("/generate", json=body), 409)


@both_backends
def test_a_deleted_twin_is_gone(api: Api, twins: dict[str, Twin], backend: str) -> None:
    producer = f"gone_{backend}"
    lora_id = f"{producer}:twin"
    files = paths(api, producer)
    for path in files:
        put(path, adapter_of(api, twins[backend], producer))
    api.generate(lora_id=lora_id, duration_seconds=1)
    assert api.client.delete(f"/loras/{lora_id}").status_code == 200
    assert not any(path.exists() for path in files)
    body = {"prompt": "x", "duration_seconds": 1, "lora_id": lora_id}
    for answer in (
        api.client.get(f"/loras/{lora_id}"),
        api.client.delete(f"/loras/{lora_id}"),
        api.client.post("/generate", json=body),
    ):
        assert lora_id in error_of(answer, 404)
    assert lora_id not in [row["lora_id"] for row in api.get("/loras")["loras"]]


def test_ids_that_differ_only_in_case_stay_apart(api: Api, twins: dict[str, Twin]) -> None:
    low, high = (api.upload(name, beat(1, number=i), job_id="j") for i, name in enumerate(("case", "CASE")))
    assert low != high
    assert (api.file(low).read_bytes(), api.file(high).read_bytes()) == (beat(1, number=0), beat(1, number=1))
    sounds = []
    for producer, backend in (("case", "ace_step"), ("CASE", "musicgen")):
        put(paths(api, producer)[0], adapter_of(api, twins[backend], producer))
        assert api.get(f"/loras/{producer}:twin")["backend"] == backend
        sounds.append(api.generate(lora_id=f"{producer}:twin"))
    assert sounds[0].shape != sounds[1].shape
    assert [row["lora_id"] for row in api.get("/loras", producer_id="CASE")["loras"]] == ["CASE:twin"]
    checked(api.client.delete("/loras/CASE:twin"))
    assert np.array_equal(api.generate(lora_id="case:twin"), sounds[0])
