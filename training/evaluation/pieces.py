"""Pieces from the same prompts and seeds with and without the twin, and what is heard in them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from models.base import Model, Text
from training.evaluation.extent import Extent
from training.evaluation.heard import MEASURES, Change, Heard, compare
from training.evaluation.intervals import Interval
from training.evaluation.listening import Piece, listen
from training.evaluation.memorised import count_memorised
from training.evaluation.report import Report
from training.evaluation.resemblance import SPACE, OwnMusic
from training.evaluation.sampling import Track, play, play_base
from training.loop import Session
from training.train_eval_split import TrainEvalSplit

# A prompt that says nothing of the producer's music.
_NEUTRAL = Text("music")


@dataclass(frozen=True)
class Pieces:
    """Pieces from the same prompts and seeds, without and with the twin.

    Attributes:
        prompts: the first pieces are of these, in their order.
        without, with_twin: all pieces.
        listened: measurements of `with_twin`; empty if there is no music of the producer to compare with.
        heard: what is heard in them; None if there is no such music.
    """

    prompts: list[Text]
    without: list[Track]
    with_twin: list[Track]
    listened: list[Piece]
    heard: Heard | None


def play_pieces(
    session: Session,
    model: Model,
    split: TrainEvalSplit,
    seconds: float,
    extent: Extent,
    played: dict[str, Track],
    check_stop: Callable[[], None],
) -> Pieces:
    """Play with and without the twin, as strong as it is in the session, and listen to both.

    Args:
        seconds: length of the pieces.
        extent: how many are played.
        played: pieces of the twin that were played before, as in `sampling.play`.
    """
    prompts = prompts_of(split, extent.captions)
    texts = prompts * extent.seeds
    folder = split.train.examples.folder
    with session.as_served() as pairs:
        without = play_base(model, texts, seconds, folder, check_stop)
        with_twin = play(model, texts, seconds, pairs, check_stop, played)
    own, codec = _own_music(split)
    if not own:
        return Pieces(prompts, without, with_twin, [], None)
    rate = model.sample_rate
    base, twin = (
        [listen(piece.mean(axis=0), rate, f"piece {number}", folder=folder) for number, piece in enumerate(pieces)]
        for pieces in (without, with_twin)
    )
    return Pieces(prompts, without, with_twin, twin, compare(own, codec, base, twin))


def write_pieces(pieces: Pieces, rate: int, split: TrainEvalSplit, report: Report) -> None:
    """Write the report's `comparisons`, `memorised`, `resemblance` and `heard`.

    The measurements of the producer's music are stored beside it, for tracks that are made later.
    """

    def stored(kind: str, tracks: Sequence[Track], number: int) -> str | None:
        return report.store_audio(f"{kind}_{number}", tracks[number], rate, with_spectrogram=True)

    report.set(
        comparisons=[
            {
                "prompt": text.prompt,
                "without": stored("without", pieces.without, number),
                "with_twin": stored("with", pieces.with_twin, number),
            }
            for number, text in enumerate(pieces.prompts)
        ]
    )
    with report.try_measuring("whether its pieces repeat training segments"):
        report.set(memorised=count_memorised(pieces.with_twin, rate, split.segments, split.codec_similarity))
    if pieces.heard is None:
        return
    own, codec = _own_music(split)
    report.store_own_music(own)
    report.set(resemblance=_resemblance(pieces.heard, split, own, codec), heard=_heard(pieces.heard))


def _own_music(split: TrainEvalSplit) -> tuple[list[Piece], list[Piece]]:
    """Excerpts of the producer's music, and some of them after the codec."""
    return (
        [*split.train.excerpts, *split.held_out.excerpts],
        [*split.train.through_codec, *split.held_out.through_codec],
    )


def prompts_of(split: TrainEvalSplit, captions: int) -> list[Text]:
    """Captions of up to that many songs, held-out ones first, and the neutral prompt, at the twin's default tempo."""
    by_song: dict[int, Text] = {}
    for subset in (split.held_out, split.train):
        for song, text in zip(subset.songs, subset.texts, strict=True):
            by_song.setdefault(song, text)
    return split.at_default_tempo([*list(dict.fromkeys(by_song.values()))[:captions], _NEUTRAL])


def _resemblance(heard: Heard, split: TrainEvalSplit, own: Sequence[Piece], codec: Sequence[Piece]) -> dict[str, Any]:
    music = OwnMusic(own)
    trained = OwnMusic(split.train.excerpts) if split.train.excerpts else None
    held_out, other = split.held_out.excerpts, split.reference.excerpts
    return {
        "space": SPACE,
        "own": _record(music.by_song()),
        "with_twin": heard.with_twin.record(),
        "without": heard.without.record(),
        "nearer": heard.nearer.record(),
        "codec": _record(music.distance(codec) if codec else None),
        "held_out": _record(trained.distance(held_out) if trained and held_out else None),
        "other_music": _record(music.distance(other) if other else None),
    }


def _heard(heard: Heard) -> dict[str, Any]:
    return {measure: _change(heard.change(measure)) for measure in MEASURES}


def _change(change: Change) -> dict[str, Any]:
    return {
        "own": change.own.record(),
        "codec": _record(change.codec),
        "without": change.without.record(),
        "with_twin": change.with_twin.record(),
        "difference": change.difference.record(),
    }


def _record(interval: Interval | None) -> dict[str, float] | None:
    return None if interval is None else interval.record()
