"""Twins in storage and in the Bento model store."""

from __future__ import annotations

import asyncio
import json
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import bentoml
import pytest
import torch
from peft import PeftConfig

from adapters import bento_store
from adapters.adapter_file import Header
from adapters.library import Library
from adapters.serialization import decode, encode
from adapters.weights import AdapterWeights, LoraPair, linear_layers
from contract import TrainRequest
from core.errors import Refusal
from core.settings import Settings
from models.ace_step import AceStep
from models.checkpoints import Checkpoint
from runners.adapter_cache import AdapterCache
from runners.messages import AdapterRef
from runners.sweep import Sweeper
from storage import Storage, Unavailable, keys, open_storage
from tests.disks import filled, small_disk
from tests.s3_server import S3Server, s3_server
from training.jobs.retention import clean
from training.jobs.store import Jobs
from training.retry import retry_unavailable

__all__ = ["s3_server"]


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return open_storage((tmp_path / "data").as_uri())


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str | None]:
    """What open_storage is called with."""
    if request.param == "folder":
        return (tmp_path / "shared").as_uri(), None
    server: S3Server = request.getfixturevalue("s3_server")
    return server.url(f"library/{uuid.uuid4().hex}"), server.endpoint


def _stored(storage: Storage, model: AceStep, checkpoint: Checkpoint, name: str, scale: float = 1.0) -> Header:
    data, header = _made(model, checkpoint, name, scale)
    Library(storage).save(data, header)
    return header


def _made(model: AceStep, checkpoint: Checkpoint, name: str, scale: float = 1.0) -> tuple[bytes, Header]:
    pairs = {
        layer: LoraPair(torch.full((linear.in_features, 2), scale), torch.ones(2, linear.out_features))
        for layer, linear in linear_layers(model.adapted).items()
        if layer.endswith("to_q")
    }
    header = Header("ada", name, "ace_step", "starter", checkpoint.sha256, 2, "j", "2026-01-01T00:00:00+00:00", "")
    data = encode(header, pairs, model)
    return data, decode(data, model).header


def _cached(header: Header) -> Path:
    return Path(bentoml.models.get(f"{bento_store._name(header.lora_id)}:{header.version}").path)


async def _held(adapters: AdapterCache, ref: AdapterRef) -> AdapterWeights:
    async with adapters.hold([ref]) as (weights,):
        return weights


@pytest.mark.parametrize("damage", ["short", "no file", "no yaml"])
def test_a_damaged_copy_gives_way_to_storage(
    storage: Storage, model: AceStep, checkpoint: Checkpoint, damage: str
) -> None:
    header = _stored(storage, model, checkpoint, damage.replace(" ", "_"))
    copy = _cached(header)
    if damage == "short":
        (copy / "adapter_model.safetensors").write_bytes(b"short")
    else:
        (copy / ("adapter_model.safetensors" if damage == "no file" else "model.yaml")).unlink()
    ref = AdapterRef(key=keys.lora("ada", header.model_name), header=header)
    assert asyncio.run(_held(AdapterCache(storage, model, checkpoint), ref)).header == header


def test_a_twin_of_another_checkpoint_is_not_used(storage: Storage, model: AceStep, checkpoint: Checkpoint) -> None:
    header = _stored(storage, model, Checkpoint("starter", checkpoint.folder, "f" * 64), "old")
    with pytest.raises(Refusal) as caught:
        ref = AdapterRef(key=keys.lora("ada", "old"), header=header)
        asyncio.run(_held(AdapterCache(storage, model, checkpoint), ref))
    assert caught.value.status == 409 and "train it again" in caught.value.message


def test_the_producers_folder_is_one_that_peft_reads(
    storage: Storage, model: AceStep, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    _stored(storage, model, checkpoint, "peft")
    folder = tmp_path / "data" / "models" / "ada"
    config = PeftConfig.from_pretrained(str(folder))
    assert set(config.target_modules) == {"q_proj"} and config.lora_alpha == config.r == 2
    assert json.loads((folder / "adapter_config.json").read_text())["peft_type"] == "LORA"


def test_deleting_removes_what_is_damaged_and_leaves_other_twins(
    storage: Storage, model: AceStep, checkpoint: Checkpoint
) -> None:
    library = Library(storage)
    _stored(storage, model, checkpoint, "first")
    _stored(storage, model, checkpoint, "second", scale=2.0)
    library.delete("ada:first")
    assert library.exists("ada:second") and not library.exists("ada:first")
    storage.put(keys.model("ada"), b"placeholder")
    library.delete("ada:second")
    assert not list(storage.list("loras/")) and not list(storage.list("models/"))


def test_storage_that_is_away_for_a_while_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.retry._PAUSE_SECONDS", 0.0)
    attempts: list[int] = []

    def write() -> None:
        attempts.append(1)
        if len(attempts) < 4:
            raise Unavailable(503, "storage cannot be reached")

    retry_unavailable(write)
    assert len(attempts) == 4


@pytest.mark.slow
def test_of_eight_writers_one_wins_and_readers_see_no_mixture(
    place: tuple[str, str | None], model: AceStep, checkpoint: Checkpoint
) -> None:
    files = {
        header.version: (data, header) for data, header in (_made(model, checkpoint, "raced", n) for n in range(8))
    }
    assert len(files) == 8
    Library(open_storage(*place)).save(*files[min(files)])
    stop = threading.Event()

    def read() -> int:
        library = Library(open_storage(*place))
        count = 0
        while not (stop.is_set() and count):
            twin = library.find("ada:raced")[0]
            assert library.read(twin) == files[twin.header.version][0]
            count += 1
        return count

    with ThreadPoolExecutor(10) as pool:
        readers = [pool.submit(read) for _ in range(2)]
        writers = [pool.submit(Library(open_storage(*place)).save, *file) for file in files.values()]
        try:
            for writer in writers:
                writer.result()
        finally:
            stop.set()
        assert all(reader.result() for reader in readers)
    storage = open_storage(*place)
    twin = Library(storage).find("ada:raced")[0]
    winner = files[twin.header.version][0]
    copies = (keys.lora("ada", "raced"), keys.model("ada"), keys.lora_version("ada", "raced", twin.header.version))
    assert [storage.get(key) for key in copies] == [winner] * 3
    assert {twin.header.version for twin in Library(storage).versions("ada:raced")} == files.keys()


def test_the_copy_that_was_last_put_there_serves_where_both_paths_are_damaged(
    storage: Storage, model: AceStep, checkpoint: Checkpoint
) -> None:
    library = Library(storage)
    old = _stored(storage, model, checkpoint, "spare")
    _stored(storage, model, checkpoint, "spare", scale=2.0)
    library.roll_back("ada:spare", old.version)
    for key in (keys.lora("ada", "spare"), keys.model("ada")):
        storage.put(key, b"placeholder")
    assert library.find("ada:spare")[0].header == old


def test_while_storage_is_away_what_was_found_last_is_recalled(
    storage: Storage, model: AceStep, checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = Library(storage)
    header = _stored(storage, model, checkpoint, "recalled")
    assert library.find_or_recall("ada:recalled")[0].header == header

    def away(key: str) -> None:
        raise Unavailable(503, "storage cannot be reached")

    with monkeypatch.context() as context:
        context.setattr(storage, "stat", away)
        assert library.find_or_recall("ada:recalled")[0].header == header
        with pytest.raises(Unavailable):
            library.find_or_recall("ada:unknown")
    library.delete("ada:recalled")
    monkeypatch.setattr(storage, "stat", away)
    with pytest.raises(Unavailable):
        library.find_or_recall("ada:recalled")


def test_a_twin_that_was_deleted_elsewhere_leaves_our_caches(
    storage: Storage, model: AceStep, checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapters = AdapterCache(storage, model, checkpoint)
    sweeper = Sweeper(storage, adapters)
    kept, gone = (_stored(storage, model, checkpoint, name, n) for n, name in enumerate(("kept", "gone"), 2))
    for header in (kept, gone):
        asyncio.run(_held(adapters, AdapterRef(key=keys.lora("ada", header.model_name), header=header)))
    with monkeypatch.context() as context:  # another machine's model store is not ours to empty
        context.setattr(bento_store, "delete_twin", lambda lora_id: None)
        Library(storage).delete("ada:gone")
    assert _cached(gone).exists()
    assert sweeper.sweep_if_needed()
    assert bento_store.load(gone) is None and bento_store.load(kept) is not None
    assert list(adapters._cached) == [kept.sha256]
    # One that is the producer's newest no more, and one that somebody put there by hand.
    other = _stored(storage, model, checkpoint, "other", 4)
    storage.delete(keys.lora_version("ada", "other", other.version))
    with monkeypatch.context() as context:
        context.setattr(bento_store, "delete_twin", lambda lora_id: None)
        Library(storage).delete("ada:kept")
    assert sweeper.sweep_if_needed()
    assert bento_store.load(kept) is None and bento_store.load(other) is not None
    assert not adapters._cached
    # What is not looked for costs one question.
    monkeypatch.setattr(storage, "list", lambda prefix: pytest.fail("it lists"))
    assert not sweeper.sweep_if_needed()


def test_a_twin_can_be_deleted_from_a_full_disk(tmp_path: Path, model: AceStep, checkpoint: Checkpoint) -> None:
    with small_disk(tmp_path / "disk", 2**23) as disk:
        storage = open_storage(disk.as_uri())
        _stored(storage, model, checkpoint, "large")
        with filled(disk):
            with pytest.raises(Unavailable) as refusal:
                storage.put("a", b"x")
            assert refusal.value.status == 507
            Library(storage).delete("ada:large")
            assert not Library(storage).exists("ada:large")
            storage.put("a", b"x")


@pytest.mark.slow
def test_what_is_old_goes_and_twins_stay(place: tuple[str, str | None], model: AceStep, checkpoint: Checkpoint) -> None:
    storage = open_storage(*place)
    _stored(storage, model, checkpoint, "stays")
    for key in ("uploads/ada/j/a.wav", "datasets/ada/j/dataset.json", "job_data/j/audio/seg_0000.wav"):
        storage.put(key, b"x")
    storage.put(keys.output("ada", "n", "wav"), b"x")
    twins = {entry.key for folder in ("loras/", "models/", "lora_versions/") for entry in storage.list(folder)}
    moment = 1e-9
    assert clean(storage, Jobs(storage), Settings(keep_uploads_days=1.0), storage.delete) == {}
    assert clean(storage, Jobs(storage), Settings(keep_uploads_days=moment), storage.delete) == {"uploads": 1}
    assert clean(storage, Jobs(storage), Settings(keep_outputs_days=moment), storage.delete) == {"outputs": 1}
    jobs = Jobs(storage)
    request = TrainRequest(producer_id="ada", dataset_job_id="j", job_id="again")
    jobs.create(request, "ace_step")
    assert clean(storage, jobs, Settings(keep_datasets_days=moment), storage.delete) == {}  # a job trains on it
    jobs.fail("again", "so that it has ended")
    assert clean(storage, jobs, Settings(keep_datasets_days=moment), storage.delete) == {"datasets": 2}
    left = {entry.key for entry in storage.list("")}
    assert twins <= left and len(twins) == 4
