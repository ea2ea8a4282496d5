"""The version that becomes the twin: the best on held-out songs, also when the training was interrupted."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from contract import Keep
from models.checkpoints import Checkpoint
from storage import Storage, Unavailable, keys
from tests.unit.training.toy import RECIPE, ToyTrainer, toy_module, toy_split
from training.evaluation.report import Report
from training.fit import Fit
from training.jobs.cancellation import Stop, Stopped
from training.loop import TrainingFailed, session
from training.version_choice import VersionChoice, measured_steps


class Job:
    """A job's attempts to train the toy layer, each in a session of its own.

    Attributes:
        fields: of the job's record.
        report: of the latest attempt.
    """

    def __init__(self, storage: Any, keep: Keep = "best", **split: Any) -> None:
        self.storage, self._keep, self._split = storage, keep, split
        self.fields: dict[str, Any] = {}

    def attempt(self, crash_at: int | None = None, stop_at: int | None = None) -> tuple[Fit, dict[str, torch.Tensor]]:
        """Train from the last checkpoint. Returns the training, and the adapter that is kept by name.

        Args:
            crash_at: the step that fails.
            stop_at: the step after which a stop is requested.
        """
        module, stop = toy_module(), Stop()

        def update(**changes: Any) -> None:
            self.fields |= changes

        request = SimpleNamespace(keep=self._keep)
        record: Any = SimpleNamespace(job_id="job", producer_id="ada", model_name="m", backend="b", request=request)
        attempt: Any = SimpleNamespace(
            record=record,
            storage=self.storage,
            settings=SimpleNamespace(train_checkpoint_seconds=0.0),
            stop=stop,
            update=update,
            try_update=update,
        )
        self.report = Report(self.storage, record, "base", "0")
        split = toy_split(module, **self._split)
        with session(ToyTrainer(module), module, RECIPE) as running:  # type: ignore[arg-type]
            advance = running.advance

            def interrupted(examples: Any) -> float:
                if running.step == crash_at:
                    raise TrainingFailed("the process was killed")
                loss = advance(examples)
                if running.step == stop_at:
                    stop.request()
                return loss

            running.advance = interrupted  # type: ignore[method-assign]
            base: Any = Checkpoint("base", None, "0")  # type: ignore[arg-type]
            fit = Fit(attempt, running, None, base, RECIPE, split, self.report, 1.0)  # type: ignore[arg-type]
            try:
                fit.run()
            finally:
                fit.choice.apply(running)
                self.kept = {name: value.detach().clone() for name, value in running.named_parameters.items()}
            self.report.set_training(RECIPE, fit.history, fit.choice)
        return fit, self.kept


def _is_trained(kept: dict[str, torch.Tensor], steps: int) -> bool:
    """Whether the adapter is that of so many steps of an undisturbed training, to the bit."""
    module = toy_module()
    examples = toy_split(module).train.examples
    with session(ToyTrainer(module), module, RECIPE) as running:  # type: ignore[arg-type]
        while running.step < steps:
            running.advance(examples)
        return all(torch.equal(kept[name], value) for name, value in running.named_parameters.items())


def _training(job: Job) -> dict[str, Any]:
    found: dict[str, Any] = job.report.content["training"]
    return found


def test_the_version_that_was_best_on_held_out_songs_is_kept_and_training_stops(store: Storage) -> None:
    job = Job(store)
    fit, kept = job.attempt()
    curve = dict(fit.history.held_out)
    best = min((step for step in curve if step), key=lambda step: curve[step])
    assert 0 < best < fit.history.held_out[-1][0] < RECIPE.steps and curve[best] < curve[0]
    assert fit.kept_curve[-1] == (best, curve[best]) and fit.is_complete
    # The kept adapter is that of a training which ends there.
    assert _is_trained(kept, best)
    stopped = _training(job)["stopped_early"]
    assert f"best at step {best}" in stopped and "30 %" in stopped and job.fields["stopped_early"] == stopped
    assert job.fields["best_step"] == best and job.fields["step"] == len(fit.history.losses)
    assert _training(job)["kept"] == {
        "keep": "best",
        "step": best,
        "reason": f"The twin is the version of step {best}, which was the best on held-out songs.",
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("keep", "split", "reason"),
    [
        ("last", {}, "as was asked for"),
        ("best", {"held_out": False}, "No song was held out, so the twin is the version of the last step, 40."),
        ("best", {"held_out_share": 1.0}, "none before it was better"),
    ],
)
def test_the_last_version_is_kept_where_none_is_better(
    store: Storage, keep: Keep, split: dict[str, Any], reason: str
) -> None:
    job = Job(store, keep, **split)
    fit, kept = job.attempt()
    assert len(fit.history.losses) == RECIPE.steps and job.fields["stopped_early"] is None
    assert reason in _training(job)["kept"]["reason"] and _training(job)["kept"]["step"] == RECIPE.steps
    assert _is_trained(kept, RECIPE.steps)


@pytest.mark.slow
@pytest.mark.parametrize("step", [1, 4, 9, 13, 17])
@pytest.mark.parametrize("how", ["crash", "stop", "crash with an old checkpoint"])
def test_a_resumed_training_keeps_the_same_version_to_the_bit(store: Storage, how: str, step: int) -> None:
    undisturbed = Job(store)
    fit, wanted = undisturbed.attempt()
    store.delete(keys.checkpoint("job"))

    job = Job(Forgetful(store) if "old" in how else store)
    if how == "stop":
        with pytest.raises(Stopped):
            job.attempt(stop_at=step)
    else:
        with pytest.raises(TrainingFailed):
            job.attempt(crash_at=step)
    again, kept = job.attempt()
    assert all(torch.equal(wanted[name], kept[name]) for name in wanted)
    assert again.history.held_out == fit.history.held_out and _training(job) | {"seconds": 0} == _training(
        undisturbed
    ) | {"seconds": 0}
    # One that was killed while it was evaluated takes no step more.
    last, kept = job.attempt(crash_at=len(fit.history.losses))
    assert all(torch.equal(wanted[name], kept[name]) for name in wanted)
    assert last.history.held_out == fit.history.held_out
    assert job.fields["stopped_early"] == undisturbed.fields["stopped_early"]


def test_a_checkpoint_of_an_earlier_version_has_no_best_version_yet(store: Storage) -> None:
    with pytest.raises(TrainingFailed):
        Job(store).attempt(crash_at=5)
    saved = torch.load(io.BytesIO(store.get(keys.checkpoint("job"))), weights_only=True)
    del saved["state"]["choice"]
    file = io.BytesIO()
    torch.save(saved, file)
    store.put(keys.checkpoint("job"), file.getvalue())
    job = Job(store)
    fit, _ = job.attempt()
    assert fit.choice.best_step and fit.choice.best_step > 5 and len(fit.history.losses) > 5


def test_a_cancelled_training_leaves_its_last_version_unless_a_better_one_was_measured(store: Storage) -> None:
    job = Job(store)
    fit, best = job.attempt()
    assert fit.choice.best_step
    store.delete(keys.checkpoint("job"))
    with pytest.raises(Stopped):
        job.attempt(stop_at=fit.choice.best_step + 1)
    assert not all(torch.equal(best[name], job.kept[name]) for name in best)
    with pytest.raises(Stopped):
        job.attempt(stop_at=fit.choice.best_step + 5)
    assert all(torch.equal(best[name], job.kept[name]) for name in best)


def test_the_adapter_of_step_0_is_never_kept() -> None:
    module = toy_module()
    choice = VersionChoice("best", True, 10)
    with session(ToyTrainer(module), module, RECIPE) as running:  # type: ignore[arg-type]
        choice.offer(running, 0.1)
        assert choice.best_step is None
        running.step = 1
        choice.offer(running, 0.5)
        assert choice.best_step == 1 and not choice.ends_training


def test_short_trainings_are_measured_after_each_step() -> None:
    assert measured_steps(3) == {0, 1, 2, 3} and measured_steps(100) == set(range(0, 101, 10))


class Forgetful:
    """A storage that is unavailable for all checkpoints but every third."""

    def __init__(self, storage: Storage) -> None:
        self._storage, self._checkpoints = storage, 0

    def put(self, key: str, *arguments: Any, **named: Any) -> Any:
        if key == keys.checkpoint("job"):
            self._checkpoints += 1
            if self._checkpoints % 3:
                raise Unavailable(503, "away")
        return self._storage.put(key, *arguments, **named)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)
