"""A server with API keys, and objects of two producers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
import pytest
from safetensors.numpy import save

from adapters.adapter_file import Header
from api.auth import keys as api_keys
from contract import TrainRequest
from storage import Storage, keys, open_storage
from tests.adapter_files import seal
from tests.api import ACE_STEP_ONLY, Api, beat, running
from training.jobs.store import Jobs

SONG = beat(1, rate=8000, channels=1)
SECRET = "only-bob-knows"


@dataclass(frozen=True)
class Guarded:
    """A server with API keys. Bob has an object of every kind; Ada has objects of the same names."""

    api: Api
    tokens: dict[str, str]

    def ask(self, who: str, method: str, path: str, **options: Any) -> httpx.Response:
        headers = {**options.pop("headers", {}), "authorization": f"Bearer {self.tokens[who]}"}
        return self.api.client.request(method, path, headers=headers, **options)


def _twin(storage: Storage, producer: str, model: str) -> None:
    header = Header(producer, model, "ace_step", SECRET, "0" * 64, 1, "job", "2026-01-01T00:00:00+00:00", "1" * 64)
    data = seal(save({"base_model.model.x.lora_A.weight": np.zeros((1, 1), np.float32)}, header.to_metadata()))
    storage.put(keys.lora(producer, model), data)
    storage.put(keys.lora_owner(producer, model), header.lora_id.encode())


@pytest.fixture(scope="package")
def guarded(tmp_path_factory: pytest.TempPathFactory, tiny: dict[str, str]) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("guarded")
    (folder / "data").mkdir()
    storage = open_storage((folder / "data").as_uri())
    tokens = {
        "ada": api_keys.create(storage, "ada", ["generate", "train"], ["ada"], jobs_at_once=1),
        "ada listens": api_keys.create(storage, "ada listens", ["generate"], ["ada"]),
        "bob": api_keys.create(storage, "bob", ["generate", "train"], ["bob"]),
        "operator": api_keys.create(storage, "operator", ["admin"]),
        "revoked": api_keys.create(storage, "revoked", ["admin"]),
    }
    api_keys.revoke(storage, tokens["revoked"].split("_")[1])
    for producer in ("ada", "bob"):
        storage.put(keys.upload(producer, "takes", f"{producer}.wav"), SONG)
        record: dict[str, Any] = {
            "schema": 2,
            "producer_id": producer,
            "job_id": "job",
            "files": [],
            "segments": [],
            "secret": SECRET,
        }
        storage.put(keys.training_record(producer), json.dumps(record).encode())
        storage.put(keys.output(producer, "track", "wav"), SONG)
        _twin(storage, producer, "night")
    path = keys.to_path(keys.upload("bob", "takes", "bob.wav"))
    _twin(storage, "ada_night", "x")
    jobs = Jobs(storage)
    jobs.create(TrainRequest(producer_id="bob", upload_paths=[path], job_id="bobs-job", model_name="night"), "ace_step")
    jobs.name_task("bobs-job", "bobs-task")
    jobs.fail("bobs-job", SECRET)
    environment = tiny | ACE_STEP_ONLY | {"LOG_FORMAT": "json", "MAX_DURATION_SECONDS": "60"}
    with running(folder, environment, ("ace_step",), tokens["operator"]) as api:
        yield Guarded(api, tokens)
