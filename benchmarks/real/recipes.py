"""Recipes compared: what twins of real music keep and gain with other hyperparameters than the default ones.

    python -m benchmarks.real.recipes FOLDER --try rank=32 --try learning_rate=1e-3,steps=300 [--composers severn]
    python -m benchmarks.real.recipes FOLDER --try targets=gate_proj+up_proj+down_proj --try keep --try ema=0.98,mix

FOLDER is that of `benchmarks.real`. For each composer the table has these rows:

    real       excerpts of `train/`
    base       without a twin
    default    the twin of the default recipe
    rank=32    that of the default recipe with these fields of `training.base.Recipe` (`alpha` is twice the rank) or of
               `benchmarks.real.variants.Variant`, which has losses and ways to play that the service has not

and the columns of `benchmarks.real`, means with intervals of 95 % over seeds (bootstrap). Tracks are made for captions
of the composer's own songs, at the tempo that a twin plays at by default, in the base model's rows too. Everything runs
in this process, so that a recipe costs its steps and its tracks only; recipes that differ in playing share a training.
`benchmarks.real.summary` reads the rows of several composers from `--out`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from adapters.weights import LoraPair
from benchmarks.real.composers import ClipSet, Composer, draw, read_composers
from benchmarks.real.figures import DISTANCE, MEASURES, Figures, Meter
from benchmarks.real.sampling import play
from benchmarks.real.trainers import shortened, train
from benchmarks.real.variants import Variant, changed
from benchmarks.training import loaded
from contract import TrainRequest
from core.settings import settings
from models.base import Text
from preprocessing.dataset import prepare
from preprocessing.isolation import ANALYSIS
from preprocessing.tagger.embedding import embed
from storage import open_storage
from training.base import Example
from training.evaluation.intervals import bootstrap
from training.examples import ExampleCache
from training.train_eval_split import TrainEvalSplit, split_dataset

_HELD_CLIPS = 12
_REPLAYED_CLIPS = 8
_EXCERPT_SECONDS = 1.0  # what a job measures of its music is not used here


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--try", dest="tries", action="append", default=[], metavar="FIELD=VALUE,…")
    parser.add_argument("--steps", type=int, help="of all recipes that name none, instead of the default")
    parser.add_argument("--composers", nargs="+")
    parser.add_argument("--backend", default="ace_step")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--prompts", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each track and excerpt")
    parser.add_argument("--clip-seconds", type=float, help="train on the first seconds of each segment only")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, help="a file to which the figures of each row are added, a line each")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    texts = {"default": "", **{text: text for text in options.tries}}
    checkpoint, model, trainer = loaded(options.backend)
    cache = ExampleCache(trainer, model, checkpoint)
    try:
        for composer in read_composers(options.folder, options.composers):
            split = _split(composer, model, cache)
            default = trainer.recipe(split.seconds)
            if options.steps:
                default = changed(default, f"steps={options.steps}").recipe
            variants = {name: changed(default, text) for name, text in texts.items()}
            for variant in variants.values():
                variant.check(options.backend, model.traits.level_channels)
            _compare(composer, options, model, trainer, split, variants)
    finally:
        ANALYSIS.close()


def _split(composer: Composer, model: Any, cache: ExampleCache) -> TrainEvalSplit:
    """The composer's `train/`, prepared as a training job does."""
    with tempfile.TemporaryDirectory() as folder:
        storage = open_storage((Path(folder) / "store").as_uri())
        paths = []
        for path in composer.train:
            storage.put_file(f"uploads/{composer.name}/songs/{path.name}", path)
            paths.append(f"/data/uploads/{composer.name}/songs/{path.name}")
        request = TrainRequest(producer_id=composer.name, upload_paths=paths)
        dataset = prepare(
            request,
            "recipes",
            storage,
            Path(folder) / "work",
            settings(),
            native_rate=model.sample_rate,
            native_channels=model.channels,
            traits=model.traits,
        )
        return split_dataset(dataset, model, cache, _EXCERPT_SECONDS, lambda: None)


def _compare(
    composer: Composer,
    options: argparse.Namespace,
    model: Any,
    trainer: Any,
    split: TrainEvalSplit,
    variants: Mapping[str, Variant],
) -> None:
    rate, seconds = model.sample_rate, options.seconds
    meter = Meter(embed, draw(composer.held, 1, _HELD_CLIPS, seconds, rate, seed=1)[0], rate)
    known = [*split.train.texts, *split.held_out.texts]
    texts = split.at_default_tempo(list(dict.fromkeys(known)))
    write = _table(composer.name, options)

    def row(name: str, sets: list[ClipSet]) -> None:
        write(name, meter.measure(sets))

    prompts = texts[: options.prompts]
    row("real", draw(composer.train, options.seeds, len(prompts), seconds, rate, seed=0))
    row("base", play(model, prompts, options.seeds, seconds))
    own: Sequence[Example] = split.train.examples
    if options.clip_seconds:
        own = [shortened(example, model, options.clip_seconds) for example in own]
    adapters: dict[str, Mapping[str, LoraPair]] = {}
    replayed: list[Example] = []
    for name, variant in variants.items():
        if variant.replay and not replayed:
            replayed = _tracks_as_examples(model, trainer, texts[:_REPLAYED_CLIPS], seconds)
        key = repr(variant.trained)
        if key not in adapters:
            adapters[key] = train(trainer, model.adapted, own, replayed, variant)
        row(name, play(model, prompts, options.seeds, seconds, adapters[key], variant))


def _tracks_as_examples(model: Any, trainer: Any, texts: list[Text], seconds: float) -> list[Example]:
    """The base model's own music, to train on."""
    [tracks] = play(model, texts, 1, seconds)
    return [
        trainer.example(track[None].repeat(model.channels, axis=0), text)
        for track, text in zip(tracks, texts, strict=True)
    ]


def _table(composer: str, options: argparse.Namespace) -> Callable[[str, Figures], None]:
    """Begins the composer's table; what it returns writes a row of it."""
    columns = [*MEASURES, DISTANCE]
    print(f"\n### {composer}, {options.backend}\n\n| | {' | '.join(columns)} |\n|{'---|' * (len(columns) + 1)}")

    def write(name: str, figures: Figures) -> None:
        print(f"| {name} | {' | '.join(str(bootstrap(figures[column])) for column in columns)} |", flush=True)
        if options.out:
            plain = {column: np.round(values, 5).tolist() for column, values in figures.items()}
            line = {"composer": composer, "backend": options.backend, "recipe": name, "figures": plain}
            with options.out.open("a") as file:
                file.write(json.dumps(line) + "\n")

    return write


if __name__ == "__main__":
    main()
