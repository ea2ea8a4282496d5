"""A job on several devices: here, several processes on the CPU."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile
import torch

from contract import TrainRequest
from core.settings import Settings
from models.base import Text
from recipes.synthesiser import render, sample_song
from runners import TABLE
from storage import keys, open_storage
from tests.api import PATIENCE, command_of, trainings
from training import ranks
from training.devices import load_model
from training.examples import ExampleCache, Examples
from training.jobs.admission import Admission
from training.jobs.cancellation import Stopped
from training.jobs.record import JobRecord
from training.jobs.store import Jobs
from training.jobs.supervisor import Supervisor
from training.loop import session, train

pytestmark = pytest.mark.long


@pytest.fixture(autouse=True)
def environment(tiny: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    more = {"STORAGE_URL": (tmp_path / "data").as_uri(), "TRAIN_DEVICE": "cpu,cpu", "TRAIN_CHECKPOINT_SECONDS": "1"}
    for name, value in (tiny | more).items():
        monkeypatch.setenv(name, value)


def test_three_ranks_train_the_adapter_of_one() -> None:
    config = Settings()
    backend = TABLE.choose("ace_step", config)
    base, model = load_model(backend, "cpu", config, lambda: None)
    trainer = backend.load_trainer_class()(model)
    cache = ExampleCache(trainer, model, base)
    music = [
        render(sample_song(np.random.default_rng(number)), 3, model.sample_rate, model.channels) for number in range(3)
    ]
    examples = Examples([cache.add(audio, Text("beat")) for audio in music])
    recipe = replace(trainer.recipe(60), steps=6, batch=4, warmup=1)
    losses: list[float] = []
    alone = train(trainer, model.adapted, examples, recipe, lambda step, loss: losses.append(loss))

    names = ["cpu"] * 3
    with (
        ranks.distributed(names, backend.name, base, recipe, examples, lambda: None),
        session(trainer, model.adapted, recipe) as running,
    ):
        running.share()
        assert running.accelerator.num_processes == 3
        together = [running.advance(examples) for _ in range(recipe.steps)]
        pairs = running.pairs()
    assert not _ranks()
    assert together == pytest.approx(losses, rel=1e-4)
    for name in alone:
        assert (alone[name].b - pairs[name].b).abs().mean() < 0.01 * alone[name].b.abs().mean(), name
    # Afterwards this process trains alone again.
    again = train(trainer, model.adapted, examples, recipe, lambda step, loss: None)
    assert all(torch.equal(alone[name].b, again[name].b) for name in alone)


def test_a_stop_does_not_wait_for_the_ranks_to_start() -> None:
    config = Settings()
    backend = TABLE.choose("ace_step", config)
    base, model = load_model(backend, "cpu", config, lambda: None)
    recipe = replace(backend.load_trainer_class()(model).recipe(60), steps=6)

    def stop() -> None:
        raise Stopped

    with pytest.raises(Stopped), ranks.distributed(["cpu"] * 2, backend.name, base, recipe, Examples([]), stop):
        pass
    assert not _ranks()


def test_a_job_can_be_resumed_when_its_processes_were_killed(tmp_path: Path) -> None:
    storage = open_storage(Settings().storage_url, None)
    jobs, admission = Jobs(storage), Admission(storage, Settings())
    beat = tmp_path / "beat.wav"
    soundfile.write(beat, render(sample_song(np.random.default_rng(5)), 20, 44_100).T, 44_100)
    storage.put_file(keys.upload("ada", "j", "beat.wav"), beat)
    job_id = admission.admit(
        TrainRequest(producer_id="ada", upload_paths=["/data/uploads/ada/j/beat.wav"], max_steps=100_000)
    ).job_id

    async def until(supervisor: Supervisor, state: str, step: int = 0) -> JobRecord:
        async with asyncio.timeout(PATIENCE):
            while True:
                record = await asyncio.to_thread(jobs.get, job_id)
                if record.state == state and (record.step or 0) > step:
                    return record
                assert record.state != "failed", record.error
                await asyncio.sleep(0.2)

    async def supervise() -> None:
        supervisor = Supervisor(jobs, at_once=1)
        supervisor.start(job_id)
        await until(supervisor, "training", 1)
        [other] = _ranks()
        other.kill()
        failed = await until(supervisor, "failed")
        assert "another device's training process ended" in str(failed.error)

        admission.resume(job_id)
        supervisor.start(job_id)
        resumed = await until(supervisor, "training", failed.step or 0)
        assert resumed.attempt == 1
        [own] = trainings(psutil.Process())
        [other] = _ranks()
        own.kill()
        assert "SIGKILL" in str((await until(supervisor, "failed")).error)
        await asyncio.to_thread(other.wait, PATIENCE)

        admission.resume(job_id)
        supervisor.start(job_id)
        await until(supervisor, "training", resumed.step or 0)
        await asyncio.to_thread(jobs.cancel, job_id)
        await supervisor.cancel(job_id)
        await until(supervisor, "cancelled")
        assert not _ranks()

    asyncio.run(supervise())
    assert list(storage.list("loras/"))


def _ranks() -> list[psutil.Process]:
    """The processes of the ranks other than 0."""
    found = [each for each in psutil.process_iter() if any("ranks" in word for word in command_of(each)[:4])]
    return [each for each in found if each.status() != psutil.STATUS_ZOMBIE]
