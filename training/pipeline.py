"""The pipeline of one attempt at a job: dataset, training, evaluation, stored adapter, report."""

from __future__ import annotations

import contextlib
from dataclasses import replace

from contract import TrainRequest
from core.temporary import TemporaryFolder
from models.base import Model
from models.checkpoints import Checkpoint
from preprocessing.isolation import ANALYSIS, DECODING
from runners import TABLE
from training import ranks
from training.adapter import TrainedAdapter, save_adapter
from training.attempt import Attempt
from training.base import MIN_DEFAULT_STEPS, Recipe, Trainer
from training.dataset import load_dataset
from training.devices import device_names, load_model
from training.evaluation import page
from training.evaluation.evaluate import evaluate
from training.evaluation.extent import extent_of
from training.evaluation.own_clips import store_own_clips
from training.evaluation.report import Report
from training.examples import ExampleCache, prune
from training.fit import Fit
from training.jobs.cancellation import Stopped
from training.loop import session
from training.progress import ProgressWriter
from training.train_eval_split import TrainEvalSplit, split_dataset

_MAX_PIECE_SECONDS = 6.0  # of previews and compared pieces


class TrainingPipeline:
    """Runs one attempt at a job, stage by stage.

    Attributes:
        adapter_is_current: whether the attempt has stored an adapter that is the twin's current version.
    """

    def __init__(self, attempt: Attempt) -> None:
        self.adapter_is_current = False
        self._attempt = attempt

    def run(self) -> None:
        """Run all stages.

        Raises:
            Stopped: a stop was requested; the checkpoint is stored, and for a cancelled job the partial adapter too.
            JobEnded: the job has ended or belongs to another attempt.
        """
        attempt = self._attempt
        backend = TABLE.choose(attempt.record.backend, attempt.settings)
        devices = device_names(attempt.settings)
        with attempt.stop.immediate(), contextlib.closing(ANALYSIS), contextlib.closing(DECODING):
            ANALYSIS.start()  # it starts while the model is loaded
            base, model = load_model(backend, devices[0], attempt.settings, attempt.stop.check)
            trainer = backend.load_trainer_class()(model)
            report = Report(attempt.storage, attempt.record, base.name, base.sha256)
            piece_seconds = min(_MAX_PIECE_SECONDS, backend.longest(attempt.settings))
            split = self._load_split(trainer, model, base, report, piece_seconds)
        report.write()

        recipe = recipe_for(trainer, attempt.record.request, split.seconds)
        adapter: TrainedAdapter | None = None
        scale: float | None = None
        try:
            with (
                ranks.distributed(devices, backend.name, base, recipe, split.train.examples, attempt.stop.check),
                session(trainer, model.adapted, recipe) as running,
            ):
                fit = Fit(attempt, running, model, base, recipe, split, report, piece_seconds)
                try:
                    fit.run()
                    fit.choice.apply(running)
                    attempt.update(state="evaluating")
                    scale = evaluate(
                        running,
                        trainer,
                        model,
                        split,
                        fit.kept_curve,
                        report,
                        piece_seconds,
                        extent_of(recipe.steps),
                        fit.played,
                        attempt.stop.check,
                    )
                    report.set_training(recipe, fit.history, fit.choice)
                finally:
                    if running.step:
                        fit.choice.apply(running)
                        partial = "" if fit.is_complete else f"{running.step}/{recipe.steps}"
                        adapter = TrainedAdapter(running.pairs(), recipe.rank, partial, split.bpm, scale)
        except Stopped:
            if adapter and attempt.update().cancelling:
                self.adapter_is_current = save_adapter(attempt, adapter, model, base)
            raise
        assert adapter is not None
        self.adapter_is_current = save_adapter(attempt, adapter, model, base)

        report.set(complete=True)
        report.write()
        page.publish(report.content, attempt.storage, attempt.record.job_id)

    def _load_split(
        self, trainer: Trainer, model: Model, base: Checkpoint, report: Report, clip_seconds: float
    ) -> TrainEvalSplit:
        """Load the music of the job, and put its songs and clips of them into the report."""
        with TemporaryFolder("dataset") as folder:
            on_progress = ProgressWriter(self._attempt.try_update)
            dataset = load_dataset(self._attempt, model, folder, on_progress)
            prune()
            cache = ExampleCache(trainer, model, base)
            extent = extent_of(self._attempt.record.request.max_steps or MIN_DEFAULT_STEPS)
            split = split_dataset(
                dataset,
                model,
                cache,
                clip_seconds,
                self._attempt.stop.check,
                on_progress,
                report.try_measuring,
                extent.through_codec,
            )
            self._attempt.update(progress=None, seconds_left=None)
            report.set(data=split.data)
            with report.try_measuring("the fingerprints of the training segments"):
                report.store_training_segments(split.segments)
            held_out = {row["song"] for row in split.data["by_song"] if row["held_out"]}
            with report.try_measuring("clips of the producer's own songs"):
                store_own_clips(report, dataset, held_out, model, clip_seconds)
            return split


def recipe_for(trainer: Trainer, request: TrainRequest, seconds: float) -> Recipe:
    """The backend's recipe for that many seconds of music, with the values that the request sets."""
    recipe = trainer.recipe(seconds)
    if request.rank is not None:
        recipe = replace(recipe, rank=request.rank, alpha=2 * request.rank)
    if request.max_steps is not None:
        recipe = replace(recipe, steps=request.max_steps)
    if request.learning_rate is not None:
        recipe = replace(recipe, learning_rate=request.learning_rate)
    return replace(recipe, warmup=min(recipe.warmup, recipe.steps // 10), seed=request.seed or 0)
