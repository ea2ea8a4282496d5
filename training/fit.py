"""The optimiser steps of an attempt, with checkpoints, held-out losses, previews and progress between them.

The version of the adapter that is best on held-out songs is kept, unless the request asks for the last one.
"""

from __future__ import annotations

import logging
import time

from contract import Preview
from models.base import Model
from models.checkpoints import Checkpoint
from training import checkpoint
from training.attempt import Attempt
from training.base import Recipe
from training.evaluation.losses import measure
from training.evaluation.pieces import prompts_of
from training.evaluation.report import Report
from training.evaluation.sampling import Track, play, play_base
from training.history import History, TensorBoard
from training.jobs.cancellation import Stopped
from training.loop import Session
from training.train_eval_split import TrainEvalSplit
from training.version_choice import VersionChoice, measured_steps

log = logging.getLogger("producer_twin.training")

_MIN_SECONDS_BETWEEN_UPDATES = 0.5
# A preview is made before the first step and after each of this many equal parts of the training.
_PREVIEW_PARTS = 3
_MIN_STEPS_BETWEEN_PREVIEWS = 2
# Fewer than at the end, since training waits meanwhile.
_HELD_OUT_EXAMPLES = 12
HELD_OUT_DRAWS = 2
# Seeds the noise of these measurements.
HELD_OUT_SEED = "glance"


class Fit:
    """Trains the session's adapter from its last checkpoint, until the held-out loss has risen or the last step.

    Attributes:
        history: the losses and previews so far, those of earlier attempts included.
        choice: of the version of the adapter that becomes the twin.
        played: the last preview, as `sampling.play` knows it.
    """

    def __init__(
        self,
        attempt: Attempt,
        session: Session,
        model: Model,
        base: Checkpoint,
        recipe: Recipe,
        split: TrainEvalSplit,
        report: Report,
        preview_seconds: float,
    ) -> None:
        self._attempt, self._session, self._model, self._recipe = attempt, session, model, recipe
        self._split, self._report, self._preview_seconds = split, report, preview_seconds
        self._job_id = attempt.record.job_id
        identity = checkpoint.identity(base, recipe, split.train.examples.digests + split.held_out.examples.digests)
        self._checkpoints = checkpoint.CheckpointWriter(attempt.storage, self._job_id, identity)
        saved = checkpoint.load(attempt.storage, self._job_id, identity)
        if saved:
            session.restore(saved["session"])
        session.share()
        self.history = History(saved and saved["history"])
        self.choice = VersionChoice(
            attempt.record.request.keep, bool(split.held_out.examples), recipe.steps, saved and saved.get("choice")
        )
        self.played: dict[str, Track] = {}
        self._board = TensorBoard(attempt.storage, self._job_id, session.step)
        self._held_out_steps = measured_steps(recipe.steps)
        previews = max(1, min(_PREVIEW_PARTS, recipe.steps // _MIN_STEPS_BETWEEN_PREVIEWS))
        self._preview_steps = {round(recipe.steps * part / previews) for part in range(previews + 1)}

    @property
    def is_complete(self) -> bool:
        """Whether there is no step left to take."""
        return self._session.step == self._recipe.steps or self.choice.ends_training

    @property
    def kept_curve(self) -> list[tuple[int, float]]:
        """(step, held-out loss), up to the version that is kept."""
        kept = self.choice.kept_step(self._session.step)
        return [(step, loss) for step, loss in self.history.held_out if step <= kept]

    def run(self) -> None:
        """Train until no step is left.

        Raises:
            Stopped: a stop was requested; the checkpoint of the step before it is stored.
        """
        try:
            self._train()
        finally:
            try:
                self._checkpoints.wait()
            finally:
                self._board.close()

    def _train(self) -> None:
        session, history, steps, stop = self._session, self.history, self._recipe.steps, self._attempt.stop
        held_out_loss = history.held_out[-1][1] if history.held_out else None
        self._attempt.update(
            state="training",
            step=session.step,
            total_steps=steps,
            held_out_loss=held_out_loss,
            best_step=self.choice.best_step,
            stopped_early=None,
        )
        self._update_previews()
        if not session.step:
            self._evaluate_step()
        began, first_step = time.monotonic(), session.step
        last_update = last_checkpoint = began
        while not self.is_complete:
            start = time.monotonic()
            loss = session.advance(self._split.train.examples)
            now = time.monotonic()
            history.losses.append(loss)
            history.seconds += now - start
            speed = (session.step - first_step) / (now - began)
            self._board.add(session.step, loss_training=loss, speed_steps_per_second=speed)
            self._evaluate_step()
            stopping, is_last = stop.requested, self.is_complete
            if now - last_checkpoint >= self._attempt.settings.train_checkpoint_seconds or is_last or stopping:
                self._save_checkpoint()
                last_checkpoint = time.monotonic()
            if now - last_update >= _MIN_SECONDS_BETWEEN_UPDATES or is_last or stopping:
                last_update = now
                seconds_left = 0.0 if is_last else round((steps - session.step) / speed, 1)
                self._attempt.try_update(
                    step=session.step, loss=loss, steps_per_second=round(speed, 3), seconds_left=seconds_left
                )
            if stopping and not is_last:
                raise Stopped
        if reason := self.choice.stopped_early(session.step):
            self._attempt.update(stopped_early=reason)

    def _evaluate_step(self) -> None:
        """Measure the held-out loss and make a preview, at the steps that are due for it."""
        step, history, held_out = self._session.step, self.history, self._split.held_out
        if step in self._held_out_steps and held_out.examples:
            examples, _ = held_out.sample(_HELD_OUT_EXAMPLES)
            loss = float(measure(self._session, examples, HELD_OUT_SEED, HELD_OUT_DRAWS).mean())
            history.held_out.append((step, loss))
            self.choice.offer(self._session, loss)
            self._board.add(step, loss_held_out=loss)
            self._attempt.try_update(held_out_loss=loss, best_step=self.choice.best_step)
        if step in self._preview_steps:
            with self._report.try_measuring(f"the preview of step {step}"):
                track = self._preview()
                name = self._report.store_audio(f"step_{step:06d}", track, self._model.sample_rate)
                history.previews.append((step, name))
                self._update_previews()

    def _preview(self) -> Track:
        """A piece from the first of the prompts of the evaluation. Before the first step it is the base model's."""
        texts, seconds = prompts_of(self._split, captions=1)[:1], self._preview_seconds
        with self._session.as_served() as pairs:
            if self._session.step:
                self.played.clear()
                [track] = play(self._model, texts, seconds, pairs, played=self.played)
            else:
                # The evaluation compares the twin with the same piece, which it finds in the folder.
                [track] = play_base(self._model, texts, seconds, self._split.train.examples.folder)
        return track

    def _update_previews(self) -> None:
        previews = [
            Preview(step=step, url=f"/jobs/{self._job_id}/previews/{name}") for step, name in self.history.previews
        ]
        self._attempt.try_update(previews=previews)

    def _save_checkpoint(self) -> None:
        state = {"session": self._session.state(), "history": self.history.state(), "choice": self.choice.state()}
        self._checkpoints.save(state)
        self._report.set_training(self._recipe, self.history, self.choice)
        self._report.write()
        self._board.publish()
