"""Twins of unseen styles: held-out loss on each style with its own twin, against other twins and no twin.

    python -m benchmarks.twins [--backend ace_step] [--songs 10] [--held-out 5] [--seconds 10] [--steps 60]

For each of three styles of the synthesiser that the starter was not trained on, the service's trainer and loop train an
adapter on some songs. Prints the loss on held-out songs of each style, with every twin and without, on the same noise;
the verdict of the report on each twin; and the verdicts on white noise and on one second of sound.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from adapters.weights import LoraPair, linear_layers
from benchmarks.training import clip_of, loaded
from models.base import Text
from recipes.synthesiser import UNSEEN_STYLES, sample_song
from training.base import Example, Recipe
from training.evaluation.extent import FULL
from training.evaluation.heard import Heard
from training.evaluation.heard import compare as compare_heard
from training.evaluation.listening import Piece, listen, middle
from training.evaluation.losses import compare, measure
from training.evaluation.noise import is_noise
from training.evaluation.sampling import play
from training.evaluation.verdict import Verdict, judge
from training.fit import HELD_OUT_SEED
from training.loop import Session, generator_of, session

_NOISE, _SECOND = "white noise", "one second"
_PIECES, _PIECE_SECONDS = 12, 6.0


@dataclass(frozen=True)
class Producer:
    """A style's held-out examples, its twin's weights, and the verdict on it."""

    held_out: list[Example]
    pairs: Mapping[str, LoraPair]
    verdict: Verdict


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", default="ace_step")
    parser.add_argument("--styles", nargs="+", default=list(UNSEEN_STYLES[:3]))
    parser.add_argument("--songs", type=int, default=10)
    parser.add_argument("--held-out", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    base, model, trainer = loaded(options.backend)
    recipe: Recipe = replace(trainer.recipe(60), steps=options.steps, warmup=options.steps // 10)
    size = f"{options.songs} songs of {options.seconds:g} s, {options.steps} steps"
    print(f"{options.backend} on {base.folder.name}, {size}")

    def train(style: str, songs: int, seconds: float, held_out: int, recipe: Recipe) -> Producer:
        clips = [_clip(model, style, number, seconds) for number in range(songs + held_out)]
        examples = [trainer.example(*clip) for clip in clips]
        seen, unseen = examples[:songs], examples[songs:]
        noise = all(is_noise(audio, model.sample_rate) for audio, _ in clips)
        with session(trainer, model.adapted, recipe) as running:
            curve = [(0, float(measure(running, unseen, HELD_OUT_SEED, 1).mean()))] if unseen else []
            while running.step < recipe.steps:
                running.advance(seen)
                if unseen and running.step % max(1, recipe.steps // 3) == 0:
                    curve.append((running.step, float(measure(running, unseen, HELD_OUT_SEED, 1).mean())))
            compared = {}
            for name, part in (("held_out", unseen), ("trained_on", seen[:5])):
                if part:
                    after = measure(running, part, name, FULL.draws)
                    with running.disable_adapter():
                        compared[name] = compare(measure(running, part, name, FULL.draws), after, range(len(part)))
            heard = _heard(running, model, clips)
            pairs = running.pairs()
        verdict = judge(
            songs=len(clips),
            seconds=songs * seconds,
            noise=noise,
            held_out=compared.get("held_out"),
            trained_on=compared.get("trained_on"),
            other=None,
            curve=curve,
            heard=heard,
            backend=options.backend,
        )
        print(f"{style}: {verdict.verdict}. {verdict.sentence}", flush=True)
        return Producer(unseen, pairs, verdict)

    producers = {
        style: train(style, options.songs, options.seconds, options.held_out, recipe) for style in options.styles
    }
    _table(trainer, model, producers)
    few = replace(recipe, steps=min(10, recipe.steps), warmup=1)
    train(_NOISE, 3, options.seconds, 1, few)
    train(_SECOND, 1, 1.0, 0, few)


def _heard(running: Session, model: Any, clips: Sequence[tuple[np.ndarray, Text]]) -> Heard:
    """The twin's pieces and the base model's, from the songs' own texts."""
    texts = [text for _, text in clips][:_PIECES]

    def listen_to(pieces: Sequence[np.ndarray], name: str) -> list[Piece]:
        excerpts = [middle(piece, round(_PIECE_SECONDS * model.sample_rate)) for piece in pieces]
        return [listen(each.mean(0), model.sample_rate, f"{name} {place}") for place, each in enumerate(excerpts)]

    with running.as_served() as pairs:
        without = play(model, texts, _PIECE_SECONDS)
        with_twin = play(model, texts, _PIECE_SECONDS, pairs)
    own = listen_to([audio for audio, _ in clips], "song")
    codec = listen_to([model.reconstruct(audio) for audio, _ in clips[:_PIECES]], "song")
    return compare_heard(own, codec, listen_to(without, "piece"), listen_to(with_twin, "piece"))


def _clip(model: Any, style: str, number: int, seconds: float) -> tuple[np.ndarray, Text]:
    rng = np.random.default_rng([2_026, number])
    if style == _NOISE:
        samples = rng.standard_normal((model.channels, round(seconds * model.sample_rate)))
        return (0.1 * samples).astype(np.float32), Text("noise")
    return clip_of(model, sample_song(rng, "trap" if style == _SECOND else style), rng, seconds)


def _table(trainer: Any, model: Any, producers: Mapping[str, Producer]) -> None:
    print(f"\n{'loss of songs never heard':26}", *(f"{style:>18}" for style in producers))
    twins: dict[str, Mapping[str, LoraPair]] = {"no twin": {}} | {name: each.pairs for name, each in producers.items()}
    table = {
        twin: [_loss(trainer, model, each.held_out, pairs) for each in producers.values()]
        for twin, pairs in twins.items()
    }
    for twin, row in table.items():
        print(f"{twin:26}", *(f"{loss:18.4f}" for loss in row))
    best = [min(table, key=lambda twin: table[twin][column]) for column in range(len(producers))]
    print(f"{'best':26}", *(f"{twin:>18}" for twin in best), "\n", flush=True)


@torch.no_grad()
def _loss(trainer: Any, model: Any, examples: Sequence[Example], pairs: Mapping[str, LoraPair]) -> float:
    with merged(model, pairs):
        losses = [
            trainer.losses([example], [generator_of(("table", place, draw))]).item()
            for place, example in enumerate(examples)
            for draw in range(FULL.draws)
        ]
    return float(np.mean(losses))


@contextmanager
def merged(model: Any, pairs: Mapping[str, LoraPair]) -> Iterator[None]:
    """Within the block, the adapter is added to the model's weights."""
    layers = linear_layers(model.adapted)
    kept = {name: layers[name].weight.data.clone() for name in pairs}
    for name, pair in pairs.items():
        layers[name].weight.data += (pair.a @ pair.b).T
    try:
        yield
    finally:
        for name, weight in kept.items():
            layers[name].weight.data.copy_(weight)


if __name__ == "__main__":
    main()
