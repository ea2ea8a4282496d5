"""Recipes compared: what twins of real music keep and gain with other hyperparameters than the default ones.

    python -m benchmarks.real.recipes FOLDER --try rank=32 --try learning_rate=1e-3,steps=300 [--composers severn]

FOLDER is that of `benchmarks.real`. For each composer the table has these rows:

    real       excerpts of `train/`
    base       without a twin
    default    the twin of the default recipe
    rank=32    that of the default recipe with these fields of `training.base.Recipe`; `alpha` is twice the rank

and the columns of `benchmarks.real`, means with intervals of 95 % over seeds (bootstrap). Tracks are made for captions
of the composer's own songs, at the tempo that a twin plays at by default, in the base model's rows too. Everything runs
in this process, so that a recipe costs its steps and its tracks only.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch

from adapters.adapter_file import Header
from adapters.weights import AdapterWeights, FlatPairs, LoraPair
from benchmarks.real.composers import ClipSet, Composer, draw, read_composers
from benchmarks.real.figures import DISTANCE, MEASURES, Meter
from benchmarks.training import loaded
from contract import SamplingOptions, TrainRequest
from core.settings import settings
from models.base import Row, Text
from preprocessing.dataset import prepare
from preprocessing.isolation import ANALYSIS
from preprocessing.tagger.embedding import embed
from storage import open_storage
from training.base import Recipe
from training.evaluation.intervals import bootstrap
from training.examples import ExampleCache
from training.loop import train
from training.train_eval_split import TrainEvalSplit, split_dataset

_HELD_CLIPS = 12
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
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    changes = {"default": "", **{text: text for text in options.tries}}
    checkpoint, model, trainer = loaded(options.backend)
    cache = ExampleCache(trainer, model, checkpoint)
    try:
        for composer in read_composers(options.folder, options.composers):
            split = _split(composer, model, cache)
            default = trainer.recipe(split.seconds)
            if options.steps:
                default = changed(default, f"steps={options.steps}")
            recipes = {name: changed(default, text) for name, text in changes.items()}
            _print_table(composer, options, model, split, _adapters(model, trainer, split, recipes))
    finally:
        ANALYSIS.close()


def changed(recipe: Recipe, text: str) -> Recipe:
    """The recipe with the fields in `name=value,…`.

    Raises:
        ValueError: a recipe has no such number.
    """
    kinds: dict[str, type] = {field.name: type(getattr(recipe, field.name)) for field in fields(recipe)}
    values: dict[str, Any] = {}
    for part in filter(None, text.split(",")):
        name, _, value = part.partition("=")
        if kinds.get(name) not in (int, float):
            raise ValueError(f"{name}: a recipe has no such number")
        values[name] = kinds[name](value)
    if "rank" in values:
        values = {"alpha": 2 * values["rank"]} | values
    new = replace(recipe, **values)
    return new if "warmup" in values else replace(new, warmup=min(new.warmup, new.steps // 10))


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


def _adapters(
    model: Any, trainer: Any, split: TrainEvalSplit, recipes: Mapping[str, Recipe]
) -> Iterator[tuple[str, AdapterWeights]]:
    for name, recipe in recipes.items():
        pairs = train(trainer, model.adapted, split.train.examples, recipe, lambda step, loss: None)
        yield name, _weights(pairs, model.backend, recipe.rank)


def _weights(pairs: Mapping[str, LoraPair], backend: str, rank: int) -> AdapterWeights:
    header = Header("real", "recipe", backend, "", "0" * 64, rank, "", "2026-01-01T00:00:00+00:00", "0" * 64)
    return AdapterWeights(header, FlatPairs.of(dict(pairs)))


def _print_table(
    composer: Composer,
    options: argparse.Namespace,
    model: Any,
    split: TrainEvalSplit,
    adapters: Iterator[tuple[str, AdapterWeights]],
) -> None:
    rate, seconds = model.sample_rate, options.seconds
    meter = Meter(embed, draw(composer.held, 1, _HELD_CLIPS, seconds, rate, seed=1)[0], rate)
    known = [*split.train.texts, *split.held_out.texts]
    texts = split.at_default_tempo(list(dict.fromkeys(known)))[: options.prompts]
    columns = [*MEASURES, DISTANCE]
    print(f"\n### {composer.name}, {options.backend}\n\n| | {' | '.join(columns)} |\n|{'---|' * (len(columns) + 1)}")

    def row(name: str, sets: list[ClipSet]) -> None:
        figures = meter.measure(sets)
        print(f"| {name} | {' | '.join(str(bootstrap(figures[column])) for column in columns)} |", flush=True)

    row("real", draw(composer.train, options.seeds, len(texts), seconds, rate, seed=0))
    row("base", _play(model, texts, options.seeds, seconds, []))
    for name, adapter in adapters:
        row(name, _play(model, texts, options.seeds, seconds, [(adapter, 1.0)]))


def _play(
    model: Any, texts: Sequence[Text], seeds: int, seconds: float, adapters: Sequence[tuple[AdapterWeights, float]]
) -> list[ClipSet]:
    """The tracks of each seed, mono, each with noise of its own."""
    sets = []
    for seed in range(seeds):
        options = [SamplingOptions(seed=seed * len(texts) + number) for number in range(len(texts))]
        rows = [Row(text, seconds, each, adapters) for text, each in zip(texts, options, strict=True)]
        tracks = model.generate(rows)
        for track in tracks:
            if isinstance(track, Exception):
                raise track
        sets.append([track.mean(axis=0) for track in tracks])
    return sets


if __name__ == "__main__":
    main()
