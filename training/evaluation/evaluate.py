"""The evaluation of a trained adapter: its losses and its pieces beside those of the base model, and the verdict."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from models.base import Model
from training.base import Trainer
from training.evaluation.base_losses import measure_base
from training.evaluation.explained import Predictor, explain
from training.evaluation.extent import Extent
from training.evaluation.losses import MAX_EXAMPLES, Comparison, compare, measure
from training.evaluation.pieces import Pieces, play_pieces, write_pieces
from training.evaluation.report import Report
from training.evaluation.sampling import Track
from training.evaluation.scales import MAX_EXAMPLES as MAX_SCALED_EXAMPLES
from training.evaluation.scales import measure_scales
from training.evaluation.strength import choose_by_ear
from training.evaluation.verdict import judge
from training.loop import Session
from training.train_eval_split import TrainEvalSplit

_EXPLAINED_EXAMPLES = 12


def evaluate(
    session: Session,
    trainer: Trainer,
    model: Model,
    split: TrainEvalSplit,
    curve: Sequence[tuple[int, float]],
    report: Report,
    piece_seconds: float,
    extent: Extent,
    played: dict[str, Track],
    check_stop: Callable[[], None],
) -> float | None:
    """Write the gain at each scale, the losses, what is heard, and the verdict into the report.

    The twin is judged as it plays by default: at the scale that is recommended. That is the best on held-out songs, or
    less where that loses less of rhythm and harmony. A measurement that fails does not fail the job: its error goes
    into the report.

    Args:
        curve: (step, held-out loss), up to the version that is evaluated.
        piece_seconds: length of the pieces to compare.
        extent: how much is measured.
        played: pieces of the twin that were played before, as in `sampling.play`.
        check_stop: called between measurements; it may raise to stop.

    Returns:
        The recommended scale, None if nothing recommends one.
    """
    recommended = _recommend_scale(session, split, report, extent, check_stop)
    scale = 1.0 if recommended is None else recommended

    def play(strength: float) -> Pieces:
        with session.scaled(strength):
            return play_pieces(session, model, split, piece_seconds, extent, played, check_stop)

    pieces: Pieces | None = None
    with report.try_measuring("what is heard in its pieces"):
        pieces = play(scale)
    if pieces and extent.small_differences:
        with report.try_measuring("what is heard in its pieces when it is weaker"):
            pieces, weakened = choose_by_ear(pieces, scale, play)
            if weakened:
                recommended = scale = weakened.scale
                report.set(weakened=weakened.record())
    if pieces:
        with report.try_measuring("what its pieces resemble"):
            write_pieces(pieces, model.sample_rate, split, report)
    with session.scaled(scale):
        losses = _compare_losses(session, split, report, extent.draws, check_stop)
        check_stop()
        if extent.small_differences:
            with report.try_measuring("the share of the latents that is predicted"):
                _explain(session, trainer, model, split, report)
    for sentence in extent.missing():
        report.add_unmeasured(sentence)
    verdict = judge(
        songs=split.data["songs"],
        seconds=split.seconds,
        noise=split.noise,
        held_out=losses.get("held_out"),
        trained_on=losses.get("trained_on"),
        other=losses.get("other_music"),
        curve=curve,
        heard=pieces.heard if pieces else None,
        backend=model.backend,
        scale=scale,
    )
    report.set(verdict=vars(verdict))
    return recommended


def _recommend_scale(
    session: Session, split: TrainEvalSplit, report: Report, extent: Extent, check_stop: Callable[[], None]
) -> float | None:
    """Write the gain at each scale into the report. Returns the best, None if it is not known."""
    examples, _ = split.held_out.sample(MAX_SCALED_EXAMPLES)
    if not examples:
        report.add_unmeasured("The best lora_scale: no song was held out, so it is 1.")
        return None
    if not extent.small_differences:
        return None
    with report.try_measuring("the gain at each lora_scale"):
        gains = measure_scales(session, examples, check_stop)
        report.set(scales=gains.record())
        return gains.recommended
    return None


def _compare_losses(
    session: Session, split: TrainEvalSplit, report: Report, draws: int, check_stop: Callable[[], None]
) -> dict[str, Comparison]:
    """The comparison with the base model for each subset of the split that has examples, by the report's field."""
    results = {}
    subsets = {"held_out": split.held_out, "trained_on": split.train, "other_music": split.reference}
    for name, subset in subsets.items():
        check_stop()
        with report.try_measuring(f"the loss on {name.replace('_', ' ')}"):
            examples, songs = subset.sample(MAX_EXAMPLES)
            if not examples:
                continue
            without = measure_base(session, examples, name, draws, check_stop)
            with_twin = measure(session, examples, name, draws, check_stop)
            results[name] = compare(without, with_twin, songs)
            report.set(**{name: results[name].record()})
    if not split.held_out.examples:
        songs_sent = "1 song" if split.data["songs"] == 1 else f"{split.data['songs']} songs"
        report.add_unmeasured(f"The loss on songs that the twin never heard: of {songs_sent} none was held out.")
    elif results.get("held_out") and results["held_out"].sample == "segments":
        report.add_unmeasured(
            "How the gain differs from song to song: too few songs were held out, so the interval is over segments."
        )
    return results


def _explain(session: Session, trainer: Trainer, model: Model, split: TrainEvalSplit, report: Report) -> None:
    """Write which share of the latents one step predicts, for checkpoints whose latents hold loudness apart."""
    name, subset = ("held_out", split.held_out) if split.held_out.examples else ("trained_on", split.train)
    examples, _ = subset.sample(_EXPLAINED_EXAMPLES)
    if not (model.traits.level_channels and isinstance(trainer, Predictor) and examples):
        return
    with session.accelerator.autocast():
        with session.disable_adapter():
            without = explain(trainer, examples, name, model.traits.level_channels)
        with_twin = explain(trainer, examples, name, model.traits.level_channels)
    report.set(
        explained={
            "sample": name,
            "level_channels": model.traits.level_channels,
            "rows": [
                {
                    "time": before.time,
                    "levels": {"without": _rounded(before.levels), "with_twin": _rounded(after.levels)},
                    "other": {"without": _rounded(before.other), "with_twin": _rounded(after.other)},
                }
                for before, after in zip(without, with_twin, strict=True)
            ],
        }
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
