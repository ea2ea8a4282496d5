"""Training below the HTTP contract: the loop learns, the job's record is true whatever happens."""

from __future__ import annotations

import asyncio
import io
import signal
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile
import torch

from contract import TrainRequest
from core.errors import Refusal
from core.settings import Settings
from models.ace_step import AceStep
from models.base import Text
from models.checkpoints import resolve
from models.tiny import ace_step as tiny
from recipes.synthesiser import render, sample_song
from storage import Storage, keys, open_storage
from tests.api import command_of
from tests.disks import filled, small_disk
from training.ace_step import AceStepTrainer
from training.base import Example, Recipe
from training.examples import ExampleCache, Examples
from training.jobs.admission import Admission
from training.jobs.launch import launch
from training.jobs.store import DESERTED, JobEnded, JobRecord, Jobs
from training.jobs.supervisor import Supervisor
from training.loop import TrainingFailed, session, train

pytestmark = pytest.mark.slow


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return open_storage((tmp_path / "data").as_uri())


@pytest.fixture
def jobs(storage: Storage) -> Jobs:
    return Jobs(storage)


def _request(**fields: object) -> TrainRequest:
    return TrainRequest.model_validate(
        {"producer_id": "ada", "upload_paths": ["/data/uploads/ada/j/beat.wav"]} | fields
    )


def _ignore(step: int, loss: float) -> None:
    pass


def _trainer(turbo: bool = True) -> AceStepTrainer:
    model = AceStep.load(resolve("starter", "ace_step_test", tiny.build), torch.device("cpu"), torch.float32)
    trainer = AceStepTrainer(model)
    trainer.turbo = turbo
    return trainer


def _recipe(trainer: AceStepTrainer, **changes: object) -> Recipe:
    return replace(trainer.recipe(60), **{"steps": 30, "batch": 2, "warmup": 3} | changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("turbo", [True, False])
def test_the_loss_falls_and_the_model_is_left_as_it_was(turbo: bool) -> None:
    trainer = _trainer(turbo)
    before = {name: value.clone() for name, value in trainer.model.adapted.state_dict().items()}
    audio = render(sample_song(np.random.default_rng(1), "techno"), 4, trainer.model.sample_rate)
    examples = [trainer.example(audio, Text("techno", bpm=130))]
    losses: list[float] = []
    pairs = train(trainer, trainer.model.adapted, examples, _recipe(trainer), lambda step, loss: losses.append(loss))
    assert np.mean(losses[-5:]) < 0.85 * np.mean(losses[:5])
    assert all(pair.b.abs().max() > 0 for pair in pairs.values())
    after = trainer.model.adapted.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)


def test_the_same_seed_trains_the_same_adapter() -> None:
    trainer = _trainer()
    examples = [trainer.example(render(sample_song(np.random.default_rng(2)), 3, 48_000), Text("beat"))]
    one, same, other = (
        train(trainer, trainer.model.adapted, examples, _recipe(trainer, steps=3, seed=seed), _ignore)
        for seed in (1, 1, 2)
    )
    assert all(torch.equal(one[name].b, same[name].b) for name in one)
    assert not all(torch.equal(one[name].a, other[name].a) for name in one)


def test_a_loss_that_is_not_finite_ends_training() -> None:
    trainer = _trainer()
    example = trainer.example(render(sample_song(np.random.default_rng(2)), 2, 48_000), Text("beat"))
    example["mean"][0, 3] = float("nan")
    with pytest.raises(TrainingFailed, match="nan at step 1; the audio or the checkpoint"):
        train(trainer, trainer.model.adapted, [example], _recipe(trainer, steps=3), _ignore)


def test_a_loss_that_begins_absurdly_ends_training() -> None:
    trainer = _trainer()
    example = trainer.example(render(sample_song(np.random.default_rng(2)), 2, 48_000), Text("beat"))
    example["mean"] *= 24_365
    with pytest.raises(TrainingFailed, match=r"the loss began at .*the audio or the checkpoint"):
        train(trainer, trainer.model.adapted, [example], _recipe(trainer, steps=3), _ignore)


def test_training_goes_on_to_the_same_adapter_however_the_batch_is_divided() -> None:
    trainer = _trainer()
    examples = [trainer.example(render(sample_song(np.random.default_rng(2)), 3, 48_000), Text("beat")) for _ in "ab"]
    recipe = _recipe(trainer, steps=6, batch=4)
    whole = train(trainer, trainer.model.adapted, examples, recipe, _ignore)
    file = io.BytesIO()
    with session(trainer, trainer.model.adapted, recipe) as first:
        while first.step < 3:
            first.advance(examples)
        torch.save(first.state(), file)
        first.advance(examples)  # what came after the checkpoint does not count
    file.seek(0)
    with session(trainer, trainer.model.adapted, recipe) as second:
        second.restore(torch.load(file, weights_only=True))
        while second.step < recipe.steps:
            second.advance(examples)
        resumed = second.pairs()
    assert all(torch.equal(whole[name].b, resumed[name].b) for name in whole)

    # One example at a time, and activations computed again, as where memory is short.
    trainer.save_memory()
    with session(trainer, trainer.model.adapted, recipe) as small:
        small.examples_a_pass = 1
        while small.step < recipe.steps:
            small.advance(examples)
        divided = small.pairs()
    for name in whole:
        assert (whole[name].b - divided[name].b).abs().mean() < 0.01 * whole[name].b.abs().mean(), name


def test_the_same_example_is_computed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    trainer = _trainer()
    checkpoint = resolve("starter", "ace_step_test", tiny.build)
    made: list[Text] = []
    example = trainer.example

    def noted(audio: np.ndarray, text: Text) -> Example:
        made.append(text)
        return example(audio, text)

    monkeypatch.setattr(trainer, "example", noted)
    audio = render(sample_song(np.random.default_rng(2)), 2, 48_000)
    cache = ExampleCache(trainer, trainer.model, checkpoint)
    paths = [cache.add(audio, Text(text)) for text in ("a", "b", "a")]
    assert [text.prompt for text in made] == ["a", "b"] and paths[0] == paths[2] != paths[1]
    paths[1].write_bytes(b"half")
    assert ExampleCache(trainer, trainer.model, checkpoint).add(audio, Text("b")) == paths[1] and len(made) == 3
    read = Examples(paths)[1]
    assert all(torch.equal(read[name], tensor) for name, tensor in example(audio, Text("b")).items())


def test_a_job_is_found_by_its_id_and_its_tasks(jobs: Jobs) -> None:
    record = jobs.create(_request(), "ace_step")
    jobs.name_task(record.job_id, "0123abcd")
    assert jobs.get("0123abcd").job_id == jobs.get(record.job_id).job_id == record.job_id
    for absent in ("nothing", "../uploads", "", "a/b"):
        with pytest.raises(Refusal, match="there is no job"):
            jobs.get(absent)


def test_a_job_id_stands_for_one_request(jobs: Jobs) -> None:
    record = jobs.create(_request(job_id="j1"), "ace_step")
    again = jobs.existing(_request(job_id="j1"))
    assert again is not None and again.job_id == record.job_id
    with pytest.raises(Refusal) as caught:
        jobs.existing(_request(job_id="j1", seed=3))
    assert caught.value.status == 409


def test_places_in_the_queue(jobs: Jobs) -> None:
    first, second, third = (jobs.create(_request(), "ace_step") for _ in range(3))
    assert [jobs.answer(record).queue_position for record in (first, second, third)] == [1, 2, 3]
    jobs.update(first.job_id, state="training")
    assert [jobs.answer(jobs.get(record.job_id)).queue_position for record in (first, second, third)] == [None, 1, 2]


def test_a_deserted_job_is_failed_and_stays_so(jobs: Jobs, storage: Storage) -> None:
    record = jobs.create(_request(), "ace_step")
    stale = record.model_copy(update={"state": "training", "updated_at": datetime.now(UTC) - DESERTED - timedelta(1)})
    storage.put(keys.job_record(record.job_id), stale.model_dump_json(by_alias=False).encode())
    assert jobs.get(record.job_id).state == "failed"
    assert "while it was training" in str(jobs.get(record.job_id).error)
    with pytest.raises(JobEnded):
        jobs.update(record.job_id, step=4)


def test_a_job_is_not_presumed_deserted_where_nobody_can_write(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 2**20) as disk:
        storage = open_storage(disk.as_uri())
        jobs = Jobs(storage)
        record = jobs.create(_request(), "ace_step")
        long_ago = datetime.now(UTC) - DESERTED - timedelta(1)
        stale = record.model_copy(update={"state": "training", "updated_at": long_ago})
        storage.put(keys.job_record(record.job_id), stale.model_dump_json(by_alias=False).encode())
        with filled(disk):
            assert [job.state for job in (jobs.get(record.job_id), *jobs.open())] == ["training"] * 2
        assert jobs.get(record.job_id).state == "failed"


def test_who_was_only_held_up_takes_its_job_back(jobs: Jobs, storage: Storage) -> None:
    record = jobs.create(_request(), "ace_step")
    stale = record.model_copy(update={"state": "training", "updated_at": datetime.now(UTC) - DESERTED - timedelta(1)})
    storage.put(keys.job_record(record.job_id), stale.model_dump_json(by_alias=False).encode())
    assert jobs.get(record.job_id).state == "failed" and not jobs.open()
    assert jobs.update(record.job_id, attempt=0, step=4).state == "training"
    assert [job.error for job in jobs.open()] == [None]
    # Once it was resumed, the earlier attempt has nothing to say.
    jobs.fail(record.job_id, "the disk is full")
    assert jobs.reopen(record.job_id).state == "queued"
    with pytest.raises(JobEnded):
        jobs.update(record.job_id, attempt=0, step=5)
    jobs.fail(record.job_id, "an old complaint", attempt=0)
    assert jobs.get(record.job_id).state == "queued"


def test_cancelling_and_resuming_follow_the_state(jobs: Jobs) -> None:
    waiting, working = (jobs.create(_request(), "ace_step") for _ in range(2))
    assert jobs.cancel(waiting.job_id).state == "cancelled" == jobs.cancel(waiting.job_id).state
    jobs.claim(working.job_id, 0)
    assert jobs.cancel(working.job_id).state == "preparing"
    with pytest.raises(Refusal, match="being cancelled"):
        jobs.reopen(working.job_id)
    jobs.fail(working.job_id, "its process was killed")
    assert jobs.get(working.job_id).state == "cancelled" and not jobs.open()
    again = jobs.reopen(working.job_id)
    assert (again.state, again.attempt, again.error, again.cancelling) == ("queued", 1, None, False)
    assert [job.job_id for job in jobs.open()] == [working.job_id]
    jobs.claim(working.job_id, 1)
    jobs.finish(jobs.get(working.job_id))
    for refused in (jobs.cancel, jobs.reopen):
        with pytest.raises(Refusal) as caught:
            refused(working.job_id)
        assert caught.value.status == 409


def test_open_jobs_are_found_by_their_marks(jobs: Jobs, storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = [jobs.create(_request(), "ace_step") for _ in range(5)]
    for record in ended:
        jobs.fail(record.job_id, "no")
    live = jobs.create(_request(), "ace_step")
    storage.put(keys.open_job("nothing"), b"")
    read: list[str] = []
    get = storage.get_with_etag

    def noted(key: str, max_bytes: int | None = None) -> tuple[bytes, str]:
        read.append(key)
        return get(key, max_bytes)

    monkeypatch.setattr(storage, "get_with_etag", noted)
    assert jobs.answer(live).queue_position == 1
    assert {key for key in read if key.startswith("jobs/")} == {
        keys.job_record(name) for name in (live.job_id, "nothing")
    }
    # A second listing reads nothing that has not changed.
    assert len(list(jobs.all())) == 6
    read.clear()
    assert len(list(jobs.all())) == 6 and len(read) == 0


def test_writers_of_one_record_lose_nothing(jobs: Jobs) -> None:
    record = jobs.create(_request(), "ace_step")

    async def write() -> None:
        steps = (asyncio.to_thread(jobs.update, record.job_id, step=number) for number in range(10))
        await asyncio.gather(asyncio.to_thread(jobs.update, record.job_id, loss=0.5), *steps)

    asyncio.run(write())
    assert jobs.get(record.job_id).loss == 0.5


def _uploaded(storage: Storage, tmp_path: Path) -> TrainRequest:
    beat = tmp_path / "beat.wav"
    soundfile.write(beat, render(sample_song(np.random.default_rng(5)), 20, 44_100).T, 44_100)
    storage.put_file(keys.upload("ada", "j", "beat.wav"), beat)
    return _request(max_steps=100_000)


def _supervised(
    storage: Storage, record: JobRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kill: signal.Signals | None
) -> JobRecord:
    """Run the job under a supervisor until it trains, then kill its process or stop the supervisor."""
    monkeypatch.setenv("STORAGE_URL", (tmp_path / "data").as_uri())
    jobs = Jobs(storage)

    async def supervise() -> None:
        supervisor = Supervisor(jobs, at_once=1)
        supervisor.start(record.job_id)
        async with asyncio.timeout(600):  # a busy machine takes minutes to start a process
            while not (await asyncio.to_thread(jobs.get, record.job_id)).step:
                await asyncio.sleep(0.3)
        if kill is None:
            await supervisor.stop()
            return
        for child in psutil.Process().children(recursive=True):
            if record.job_id in command_of(child):
                child.send_signal(kill)
        async with asyncio.timeout(600):
            while (await asyncio.to_thread(jobs.get, record.job_id)).state == "training":
                await asyncio.sleep(0.3)

    asyncio.run(supervise())
    return jobs.get(record.job_id)


@pytest.mark.parametrize(("kill", "reason"), [(signal.SIGKILL, "SIGKILL"), (None, "server was stopped")])
def test_how_a_process_ended_is_written_down(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kill: signal.Signals | None, reason: str
) -> None:
    request = _uploaded(storage, tmp_path)
    record = Admission(storage, Settings()).admit(request)
    ended = _supervised(storage, record, tmp_path, monkeypatch, kill)
    assert ended.state == "failed" and reason in str(ended.error) and "resume" in str(ended.error)
    # Nothing half-made is left where a twin would be.
    assert not list(storage.list("loras/")) and not list(storage.list("models/"))


class _Ray(BaseHTTPRequestHandler):
    """A head of a cluster that takes a job and then has forgotten it."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._say(200, b'{"submission_id": "x", "job_id": "x"}')

    def do_GET(self) -> None:
        self._say(404, b"no such job")

    def _say(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.mark.parametrize(("there", "status", "reason"), [(False, 503, "cannot be reached"), (True, 500, "any more")])
def test_a_cluster_that_is_away_fails_the_job_with_the_reason(
    storage: Storage, tmp_path: Path, there: bool, status: int, reason: str
) -> None:
    record = Admission(storage, Settings()).admit(_uploaded(storage, tmp_path))

    async def supervise(url: str) -> None:
        supervisor = Supervisor(Jobs(storage), 1, launch(Settings(train_ray_url=url)))
        supervisor.start(record.job_id)
        while (await asyncio.to_thread(Jobs(storage).get, record.job_id)).state != "failed":
            await asyncio.sleep(0.05)

    with ThreadingHTTPServer(("127.0.0.1", 0), _Ray) as server:
        if there:
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        else:
            server.server_close()
        asyncio.run(supervise(f"http://127.0.0.1:{server.server_address[1]}"))
        if there:
            server.shutdown()
    ended = Jobs(storage).get(record.job_id)
    assert ended.error_status == status and reason in str(ended.error) and "resume the job" in str(ended.error)


def test_names_that_would_share_a_file_are_refused(storage: Storage, tmp_path: Path) -> None:
    request = _uploaded(storage, tmp_path)
    admission = Admission(storage, Settings())
    admission.admit(request.model_copy(update={"model_name": "b_c"}))
    storage.put(keys.upload("ada_b", "j", "beat.wav"), storage.get(keys.upload("ada", "j", "beat.wav")))
    other = _request(producer_id="ada_b", model_name="c", upload_paths=["/data/uploads/ada_b/j/beat.wav"])
    with pytest.raises(Refusal) as caught:
        admission.admit(other)
    assert caught.value.status == 409 and "file name of ada_b:c" in caught.value.message
