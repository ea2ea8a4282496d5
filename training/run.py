"""A job from its dataset to its stored adapter: `python -m training.run <job id>`."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

import logs
from contract import State, TrainRequest
from errors import Refusal
from models.adapter_file import Header
from models.adapters import decode, encode
from models.base import Model, Text
from models.checkpoints import Checkpoint, CheckpointError, resolve
from models.device import pick_device, pick_dtype
from models.library import Library
from preprocessing import segment
from preprocessing.dataset import Clip, Dataset, prepare, restore, stored
from runners import TABLE, Backend
from settings import Settings, settings
from storage import Storage, Unavailable, open_storage
from storage.patient import Patient
from training.base import Example, Recipe, Trainer
from training.jobs import JobEnded, JobRecord, Jobs
from training.loop import OnStep, TrainingFailed, train

log = logging.getLogger("producer_twin.training")

# A record is written no more often than this, whatever the speed of the steps.
_REPORT_SECONDS = 0.5
# How long storage may be away when the adapter is to be written.
_PATIENCE_SECONDS = 900.0
_RETRY_SECONDS = 5.0
# Changes the job's record and returns it.
Report = Callable[..., JobRecord]
# Serving goes first where both share the cores.
_NICE = 5


def run(job_id: str, storage: Storage, config: Settings, on_progress: Callable[[JobRecord], None]) -> JobRecord:
    """Carry out a queued job and return its last record. What goes wrong is written down there, not raised."""
    jobs = Jobs(storage)

    def report(**changes: Any) -> JobRecord:
        record = jobs.update(job_id, **changes)
        on_progress(record)
        return record

    try:
        record = report(state="preparing")
        with jobs.heartbeat(job_id):
            _carry_out(record, storage, config, report)
            patiently(lambda: jobs.finish(record))
    except JobEnded:
        log.info("job %s was ended by someone else", job_id)
    except Refusal as error:
        jobs.fail(job_id, error.message, error.status)
    except (CheckpointError, TrainingFailed) as error:
        jobs.fail(job_id, str(error))
    except Exception as error:
        log.exception("job %s", job_id)
        jobs.fail(job_id, f"training failed: {type(error).__name__}: {error}")
    last = jobs.get(job_id)
    on_progress(last)
    return last


def _carry_out(record: JobRecord, storage: Storage, config: Settings, report: Report) -> None:
    backend = TABLE.choose(record.backend, config)
    checkpoint, model = _load(backend, config)
    trainer = backend.load_trainer_class()(model)
    with tempfile.TemporaryDirectory(prefix="twin-") as folder:
        dataset = _dataset(record, storage, Path(folder), config, model, report)
        examples = [_example(trainer, model, clip) for clip in dataset.clips]
    recipe = _recipe(trainer, record.request, sum(clip.seconds for clip in dataset.clips))
    report(state="training", step=0, total_steps=recipe.steps)
    pairs = train(trainer, model.adapted, examples, recipe, _progress(recipe, report))
    report(state="evaluating")
    data = encode(_header(record, checkpoint, recipe), pairs, model)
    # What was made is read back by the code that serves it before anyone is told that it exists.
    header = decode(data, model).header
    patiently(lambda: Library(storage).save(data, header))


def patiently(write: Callable[[], object]) -> None:
    """Write what took long to make: storage that is away for a while must not cost it."""
    end = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            write()
            return
        except Unavailable as error:
            if time.monotonic() > end:
                raise
            log.warning("%s; trying again", error)
            time.sleep(_RETRY_SECONDS)


def _load(backend: Backend, config: Settings) -> tuple[Checkpoint, Model]:
    device = pick_device(config.train_device or config.device)
    checkpoint = resolve(backend.checkpoint_name(config), backend.name, backend.load_tiny(), config.hf_token)
    dtype = pick_dtype(config.dtype, device)
    if dtype is torch.float16:
        dtype = torch.bfloat16  # gradients leave float16's range
    return checkpoint, backend.load_model_class().load(checkpoint, device, dtype)


def _dataset(
    record: JobRecord, storage: Storage, folder: Path, config: Settings, model: Model, report: Report
) -> Dataset:
    def tell(state: State) -> None:
        report(state=state)

    # What was begun is not given up because storage is away for a while.
    storage = Patient(storage, _PATIENCE_SECONDS)
    if known := stored(record.request, storage):
        return restore(known, storage, folder)
    return prepare(
        record.request,
        record.job_id,
        storage,
        folder,
        config,
        native_rate=model.sample_rate,
        native_channels=model.channels,
        report=tell,
    )


def _example(trainer: Trainer, model: Model, clip: Clip) -> Example:
    audio = segment.load(clip.path, model.sample_rate, model.channels).T
    caption = clip.caption
    text = Text(caption.text, bpm=caption.bpm, key=caption.key, time_signature=caption.time_signature)
    return trainer.example(np.ascontiguousarray(audio), text)


def _recipe(trainer: Trainer, request: TrainRequest, seconds: float) -> Recipe:
    """The backend's recipe for so much music, with what the request asks for in its place."""
    recipe = trainer.recipe(seconds)
    if request.rank is not None:
        recipe = replace(recipe, rank=request.rank, alpha=2 * request.rank)
    if request.max_steps is not None:
        recipe = replace(recipe, steps=request.max_steps)
    if request.learning_rate is not None:
        recipe = replace(recipe, learning_rate=request.learning_rate)
    return replace(recipe, warmup=min(recipe.warmup, recipe.steps // 10), seed=request.seed or 0)


def _header(record: JobRecord, checkpoint: Checkpoint, recipe: Recipe) -> Header:
    return Header(
        producer_id=record.producer_id,
        model_name=record.model_name,
        backend=record.backend,
        base=checkpoint.name,
        base_sha256=checkpoint.sha256,
        rank=recipe.rank,
        job_id=record.job_id,
        created_at=datetime.now(UTC).isoformat(),
        sha256="",
    )


def _progress(recipe: Recipe, report: Report) -> OnStep:
    """Writes the steps down, and how long the rest will take."""
    started = reported = time.monotonic()

    def on_step(step: int, loss: float) -> None:
        nonlocal reported
        now = time.monotonic()
        if now - reported >= _REPORT_SECONDS or step == recipe.steps:
            reported = now
            speed = step / (now - started)
            left = (recipe.steps - step) / speed
            # How far it is may be told late, or not at all.
            with contextlib.suppress(Unavailable):
                report(step=step, loss=loss, steps_per_second=round(speed, 3), seconds_left=round(left, 1))

    return on_step


def main() -> int:
    config = settings()
    logs.configure(config, job_id=sys.argv[1])
    if hasattr(os, "nice"):
        os.nice(_NICE)
    storage = open_storage(config.storage_url, config.s3_endpoint_url)
    run(sys.argv[1], storage, config, on_progress=lambda record: None)
    return 0


if __name__ == "__main__":
    sys.exit(main())
