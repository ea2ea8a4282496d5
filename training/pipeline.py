"""One attempt at a job: from its dataset to its stored adapter and its report."""

from __future__ import annotations

import contextlib
import logging
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapters.adapter_file import Header
from adapters.library import Library
from adapters.serialization import decode, encode
from adapters.weights import LoraPair
from contract import Preview, SamplingOptions, State, TrainRequest
from core.errors import Refusal
from core.settings import Settings
from models.base import Model, Row, Text
from models.checkpoints import Checkpoint
from preprocessing.dataset import Dataset, prepare, read_record, restore, stored
from preprocessing.isolation import ANALYSIS
from runners import TABLE
from storage import NotFound, Storage, Unavailable, keys
from storage.retrying import RetryingStorage
from training import checkpoint, ranks
from training.base import Recipe, Trainer
from training.data import Part, TrainEvalSplit, gather
from training.evaluation import page, resemblance
from training.evaluation.held_out import MAX_EXAMPLES, compare, measure
from training.evaluation.report import Report
from training.evaluation.verdict import judge
from training.examples import ExampleCache, prune
from training.history import History, TensorBoard
from training.jobs.cancellation import Stop, Stopped
from training.jobs.store import JobEnded, JobRecord
from training.loop import Session, session

log = logging.getLogger("producer_twin.training")

# A record is written no more often than this, whatever the speed of the steps.
_REPORT_SECONDS = 0.5
# How long storage may be away when the adapter is to be written.
_PATIENCE_SECONDS = 900.0
_RETRY_SECONDS = 5.0
# The points of training at which songs that were set aside are measured, and music is made.
_MEASURES, _PREVIEWS = 10, 3
_PREVIEW_SECONDS = 6.0
_PREVIEW_SEED = 0
_COMPARISONS = 3
# While training goes on, its loss on songs set aside is measured on fewer examples than at the end.
_GLANCE_EXAMPLES, _GLANCE_DRAWS = 12, 2

# Changes the job's record and returns it.
Tell = Callable[..., JobRecord]


class TrainingPipeline:
    """Carries out one job. `kept`: whether an adapter was stored that is what the twin's id stands for now."""

    def __init__(self, record: JobRecord, storage: Storage, config: Settings, tell: Tell, stop: Stop) -> None:
        self.kept = False
        self.record, self.storage, self.config, self.stop = record, storage, config, stop
        self._tell = tell

    def carry_out(self) -> None:
        """Raises `Stopped` when it is to end before its end; what there is was saved then."""
        with self.stop.at_once(), contextlib.closing(ANALYSIS):
            backend = TABLE.choose(self.record.backend, self.config)
            ANALYSIS.start()  # it gets ready while the model is loaded
            devices = ranks.names_of(self.config)
            base, model = ranks.load(backend, devices[0], self.config, self.stop.check)
            trainer = backend.load_trainer_class()(model)
            report = Report(self.storage, self.record, base.name, base.sha256)
            with tempfile.TemporaryDirectory(prefix="twin-") as folder:
                dataset = self._dataset(Path(folder), model)
                prune()
                material = gather(dataset, model, ExampleCache(trainer, model, base), self.stop.check)
            report.say(data=material.data)
            report.write()
            recipe = recipe_of(trainer, self.record.request, material.seconds)
        length = min(_PREVIEW_SECONDS, backend.longest(self.config))
        step, pairs = 0, dict[str, LoraPair]()
        try:
            together = ranks.others(devices, backend.name, base, recipe, material.trained.examples, self.stop.check)
            with together, session(trainer, model.adapted, recipe) as running:
                learning = _Learning(self, running, model, base, recipe, material, report, length)
                try:
                    learning.learn()
                    self.tell(state="evaluating")
                    learning.evaluate()
                finally:
                    step, pairs = running.step, running.pairs()
        except Stopped:
            if step and self.tell().cancelling:
                self._save_adapter(pairs, step, recipe, model, base)
            raise
        self._save_adapter(pairs, step, recipe, model, base)
        report.say(complete=True)
        report.write()
        self._write_page(report)

    def tell(self, **changes: Any) -> JobRecord:
        """Change the job's record, once storage is there to do it, and return it."""
        told: list[JobRecord] = []
        patiently(lambda: told.append(self._tell(**changes)))
        return told[-1]

    def mention(self, **changes: Any) -> None:
        """Change the record if that can be done now: how far it is may be told late, or not at all."""
        with contextlib.suppress(Unavailable):
            self._tell(**changes)

    def _save_adapter(
        self, pairs: Mapping[str, LoraPair], step: int, recipe: Recipe, model: Model, base: Checkpoint
    ) -> None:
        header = Header(
            producer_id=self.record.producer_id,
            model_name=self.record.model_name,
            backend=self.record.backend,
            base=base.name,
            base_sha256=base.sha256,
            rank=recipe.rank,
            job_id=self.record.job_id,
            created_at=datetime.now(UTC).isoformat(),
            sha256="",
            partial="" if step == recipe.steps else f"{step}/{recipe.steps}",
        )
        data = encode(header, pairs, model)
        # What was made is read back by the code that serves it before anyone is told that it exists.
        header = decode(data, model).header
        library = Library(self.storage)

        def save() -> None:
            self.kept = library.save(data, header)

        patiently(save)

    def _dataset(self, folder: Path, model: Model) -> Dataset:
        """What an earlier attempt made of the request, or else made now."""
        record, request = self.record, self.record.request
        # What was begun is not given up because storage is away for a while.
        storage = RetryingStorage(self.storage, _PATIENCE_SECONDS)

        def tell(state: State) -> None:
            self.tell(state=state)

        if named := stored(request, storage):
            return restore(named, storage, folder)
        with contextlib.suppress(NotFound, Refusal):
            known = read_record(record.producer_id, record.job_id, storage)
            return restore(known, storage, folder / "restored")
        return prepare(
            request,
            record.job_id,
            storage,
            folder,
            self.config,
            native_rate=model.sample_rate,
            native_channels=model.channels,
            report=tell,
        )

    def _write_page(self, report: Report) -> None:
        """For whoever has no server; the server makes its own."""
        job_id = self.record.job_id
        with contextlib.suppress(Unavailable):
            text = page.render(report.content, lambda name: self.storage.get(keys.preview(job_id, name)))
            self.storage.put(keys.report_page(job_id), text.encode())


class _Learning:
    """The steps, and what is measured, heard and saved between them."""

    def __init__(
        self,
        work: TrainingPipeline,
        running: Session,
        model: Model,
        base: Checkpoint,
        recipe: Recipe,
        material: TrainEvalSplit,
        report: Report,
        preview_seconds: float,
    ) -> None:
        self._work, self._running, self._model, self._base = work, running, model, base
        self._recipe, self._material, self._report = recipe, material, report
        self._preview_seconds = preview_seconds
        self._storage, self._job_id = work.storage, work.record.job_id
        self._identity = checkpoint.identity(
            base, recipe, material.trained.examples.digests + material.held_out.examples.digests
        )
        saved = checkpoint.load(self._storage, self._job_id, self._identity)
        if saved:
            running.restore(saved["session"])
        running.share()
        self._history = History(saved and saved["history"])
        self._board = TensorBoard(self._storage, self._job_id, running.step)
        steps = recipe.steps
        self._measured_at = {round(steps * part / _MEASURES) for part in range(_MEASURES + 1)}
        self._heard_at = {round(steps * part / _PREVIEWS) for part in range(_PREVIEWS + 1)}

    def learn(self) -> None:
        """To the last step. Raises `Stopped`, having saved what there is."""
        running, history, steps = self._running, self._history, self._recipe.steps
        held_out = history.held_out[-1][1] if history.held_out else None
        self._work.tell(state="training", step=running.step, total_steps=steps, held_out_loss=held_out)
        self._show_previews()
        if not running.step:
            self._look()
        began, first = time.monotonic(), running.step
        told = saved = began
        try:
            while running.step < steps:
                start = time.monotonic()
                loss = running.advance(self._material.trained.examples)
                now = time.monotonic()
                history.losses.append(loss)
                history.seconds += now - start
                speed = (running.step - first) / (now - began)
                self._board.add(running.step, loss_training=loss, speed_steps_per_second=speed)
                self._look()
                asked, last = self._work.stop.asked, running.step == steps
                if now - saved >= self._work.config.train_checkpoint_seconds or last or asked:
                    self._save()
                    saved = time.monotonic()
                if now - told >= _REPORT_SECONDS or last or asked:
                    told = now
                    left = (steps - running.step) / speed
                    self._work.mention(
                        step=running.step, loss=loss, steps_per_second=round(speed, 3), seconds_left=round(left, 1)
                    )
                if asked and not last:
                    raise Stopped
        finally:
            self._board.close()

    def evaluate(self) -> None:
        """What the report says at the end. What cannot be measured costs no twin: the report says why."""
        report, material = self._report, self._material
        results = {}
        for name, part in [
            ("held_out", material.held_out),
            ("trained_on", material.trained),
            ("other_music", material.other),
        ]:
            self._work.stop.check()
            with self._trying(f"the loss on {name.replace('_', ' ')}"):
                examples, songs = part.some(MAX_EXAMPLES)
                if not examples:
                    continue
                with self._running.without():
                    without = measure(self._running, examples, name, check=self._work.stop.check)
                with_twin = measure(self._running, examples, name, check=self._work.stop.check)
                results[name] = compare(without, with_twin, songs)
                report.say(**{name: results[name].record()})
        if not material.held_out.examples:
            report.cannot(
                f"What the twin makes of songs that it never heard: of {material.data['songs']} "
                f"{'song' if material.data['songs'] == 1 else 'songs'} none was set aside."
            )
        elif results.get("held_out") and results["held_out"].sample == "segments":
            report.cannot(
                "How the gain differs from song to song: so few were set aside that the interval is over segments."
            )
        self._work.stop.check()
        with self._trying("the resemblance of what it plays"):
            self._compare_by_ear()
        verdict = judge(
            songs=material.data["songs"],
            seconds=material.seconds,
            noise=material.noise,
            held_out=results.get("held_out"),
            trained_on=results.get("trained_on"),
            other=results.get("other_music"),
            curve=self._history.held_out,
        )
        report.say(verdict=vars(verdict))
        report.progress(self._recipe, self._history)

    def _look(self) -> None:
        """Measure and listen where the step is one for it."""
        step, history = self._running.step, self._history
        if step in self._measured_at and self._material.held_out.examples:
            examples, _ = self._material.held_out.some(_GLANCE_EXAMPLES)
            loss = float(measure(self._running, examples, "glance", _GLANCE_DRAWS).mean())
            history.held_out.append((step, loss))
            self._board.add(step, loss_held_out=loss)
            self._work.mention(held_out_loss=loss)
        if step in self._heard_at:
            with self._trying(f"the preview of step {step}"):
                [track] = self._play([self._material.trained.texts[0]])
                history.previews.append((step, self._report.keep(f"step_{step:06d}", track, self._model.sample_rate)))
                self._show_previews()

    def _show_previews(self) -> None:
        shown = [
            Preview(step=step, url=f"/jobs/{self._job_id}/previews/{name}") for step, name in self._history.previews
        ]
        self._work.mention(previews=shown)

    def _save(self) -> None:
        state = {"session": self._running.state(), "history": self._history.state()}
        try:
            checkpoint.save(self._storage, self._job_id, self._identity, state)
        except Unavailable as error:
            log.warning("the checkpoint of step %d was not stored: %s", self._running.step, error)
        self._report.progress(self._recipe, self._history)
        self._report.write()
        self._board.publish()

    def _compare_by_ear(self) -> None:
        """Play the same prompts with and without the twin, and see which is nearer to the producer."""
        material, rate = self._material, self._model.sample_rate
        texts = _prompts(material.held_out if material.held_out.texts else material.trained)
        with self._running.without():
            without = self._play(texts)
        with_twin = self._play(texts)
        pairs = []
        for number, (text, before, after) in enumerate(zip(texts, without, with_twin, strict=True)):
            pairs.append(
                {
                    "prompt": text.prompt,
                    "without": self._report.keep(f"without_{number}", before, rate, picture=True),
                    "with_twin": self._report.keep(f"with_{number}", after, rate, picture=True),
                }
            )
        own, aside, other = material.trained.described, material.held_out.described, material.other.described
        scale = resemblance.unit([*own, *aside, *other])

        def distance(pieces: list[resemblance.Description]) -> float | None:
            return round(resemblance.distance(pieces, own, scale), 4) if pieces and own else None

        self._report.say(
            comparisons=pairs,
            resemblance={
                "space": resemblance.SPACE,
                "with_twin": distance([resemblance.describe(track, rate) for track in with_twin]),
                "without": distance([resemblance.describe(track, rate) for track in without]),
                "set_aside": distance(aside),
                "other_music": distance(other),
            },
        )

    def _play(self, texts: list[Text]) -> list[NDArray[np.float32]]:
        """A piece for each text with a fixed seed, `[channels, samples]`, by the model as it is now."""
        rows = [
            Row(text, self._preview_seconds, SamplingOptions(seed=_PREVIEW_SEED + number))
            for number, text in enumerate(texts)
        ]
        tracks = self._model.generate(rows)
        for track in tracks:
            if isinstance(track, Exception):
                raise track
        return tracks  # type: ignore[return-value]

    @contextmanager
    def _trying(self, what: str) -> Iterator[None]:
        try:
            yield
        except JobEnded:
            raise
        except Exception as error:
            log.exception("job %s: %s", self._job_id, what)
            self._report.cannot(f"Not measured: {what}, for an error: {type(error).__name__}: {error}")


def recipe_of(trainer: Trainer, request: TrainRequest, seconds: float) -> Recipe:
    """The backend's recipe for so much music, with what the request asks for in its place."""
    recipe = trainer.recipe(seconds)
    if request.rank is not None:
        recipe = replace(recipe, rank=request.rank, alpha=2 * request.rank)
    if request.max_steps is not None:
        recipe = replace(recipe, steps=request.max_steps)
    if request.learning_rate is not None:
        recipe = replace(recipe, learning_rate=request.learning_rate)
    return replace(recipe, warmup=min(recipe.warmup, recipe.steps // 10), seed=request.seed or 0)


def _prompts(part: Part) -> list[Text]:
    """The first different texts of a part."""
    return list(dict.fromkeys(part.texts))[:_COMPARISONS]


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
