"""The evaluation of a trained adapter: its losses and its pieces beside those of the base model, and the verdict."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from models.base import Model
from training.evaluation import resemblance
from training.evaluation.base_losses import measure_base
from training.evaluation.losses import MAX_EXAMPLES, Comparison, compare, measure
from training.evaluation.report import Report
from training.evaluation.resemblance import Features
from training.evaluation.sampling import play
from training.evaluation.verdict import judge
from training.history import History
from training.loop import Session
from training.train_eval_split import TrainEvalSplit

_COMPARED_PROMPTS = 3


def evaluate(
    session: Session,
    model: Model,
    split: TrainEvalSplit,
    history: History,
    report: Report,
    piece_seconds: float,
    check_stop: Callable[[], None],
) -> None:
    """Write the losses, the resemblance and the verdict into the report.

    A measurement that fails does not fail the job: its error goes into the report.

    Args:
        piece_seconds: length of the pieces to compare.
        check_stop: called between measurements; it may raise to stop.
    """
    losses = _compare_losses(session, split, report, check_stop)
    check_stop()
    with report.try_measuring("the resemblance of its pieces"):
        _compare_pieces(session, model, split, report, piece_seconds)
    verdict = judge(
        songs=split.data["songs"],
        seconds=split.seconds,
        noise=split.noise,
        held_out=losses.get("held_out"),
        trained_on=losses.get("trained_on"),
        other=losses.get("other_music"),
        curve=history.held_out,
    )
    report.set(verdict=vars(verdict))


def _compare_losses(
    session: Session, split: TrainEvalSplit, report: Report, check_stop: Callable[[], None]
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
            without = measure_base(session, examples, name, check_stop)
            with_twin = measure(session, examples, name, check_stop=check_stop)
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


def _compare_pieces(
    session: Session, model: Model, split: TrainEvalSplit, report: Report, piece_seconds: float
) -> None:
    """Play the same prompts with and without the twin, and measure which is nearer to the producer's music."""
    rate = model.sample_rate
    # The first different prompts.
    texts = list(dict.fromkeys(split.held_out.texts or split.train.texts))[:_COMPARED_PROMPTS]
    with session.disable_adapter():
        without = play(model, texts, piece_seconds)
    with_twin = play(model, texts, piece_seconds)
    comparisons = [
        {
            "prompt": text.prompt,
            "without": report.store_audio(f"without_{number}", base_piece, rate, with_spectrogram=True),
            "with_twin": report.store_audio(f"with_{number}", twin_piece, rate, with_spectrogram=True),
        }
        for number, (text, base_piece, twin_piece) in enumerate(zip(texts, without, with_twin, strict=True))
    ]
    own, held_out, reference = split.train.features, split.held_out.features, split.reference.features
    scale = resemblance.scale_of([*own, *held_out, *reference])

    def distance(features: Sequence[Features]) -> float | None:
        return round(resemblance.distance(features, own, scale), 4) if features and own else None

    report.set(
        comparisons=comparisons,
        resemblance={
            "space": resemblance.SPACE,
            "with_twin": distance([resemblance.features(piece, rate) for piece in with_twin]),
            "without": distance([resemblance.features(piece, rate) for piece in without]),
            "set_aside": distance(held_out),
            "other_music": distance(reference),
        },
    )
