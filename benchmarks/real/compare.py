"""One table for each composer and backend."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import soundfile
import torch

from adapters.serialization import decode
from benchmarks.real.composers import ClipSet, Composer, draw, read_composers
from benchmarks.real.ear import Ear, judge_by_ear
from benchmarks.real.figures import DISTANCE, MEASURES, Figures, Meter
from benchmarks.real.pictures import draw_spectrograms
from benchmarks.real.twin import NEUTRAL, Player, Twin, train
from benchmarks.training import loaded
from benchmarks.twins import merged
from core.settings import settings
from models.base import Text
from preprocessing.tagger.embedding import embed
from storage import open_storage
from training.evaluation.audio_measures import Audio
from training.evaluation.explained import explain
from training.evaluation.intervals import bootstrap

# The report's pieces have seeds from 0.
_FIRST_SEED = 1000
_HELD_CLIPS = 12
_PICTURE_ROWS = 3
KINDS = ("neutral prompts", "own captions")


def compare(options: argparse.Namespace) -> None:
    torch.set_num_threads(options.threads)
    composers = read_composers(options.folder)
    storage = open_storage(settings().storage_url, settings().s3_endpoint_url)
    summary = []
    for backend in options.backends:
        _, model, trainer = loaded(backend)
        player, rate = Player(storage, backend, options.seconds), model.sample_rate
        for composer in composers:
            if options.composers and composer.name not in options.composers:
                continue
            twin = train(storage, composer, backend, options.max_steps)
            sets = _generated(player, twin, options.seeds)
            real = _excerpts(composer.train, options, rate)
            others = [path for other in composers if other is not composer for path in other.train]
            held = draw(composer.held, 1, _HELD_CLIPS, options.seconds, rate, seed=1)[0]
            sets = {"real": real, "codec": [[_through_codec(model, clip) for clip in clips] for clips in real]} | sets
            if others:
                sets["others"] = _excerpts(others, options, rate)
            base, twins = ([*sets[f"{name}, {KINDS[0]}"], *sets[f"{name}, {KINDS[1]}"]] for name in ("base", "twin"))
            ear = judge_by_ear(held, [_through_codec(model, clip) for clip in held], base, twins, rate)
            meter = Meter(partial(embed, network="mtt"), held, rate)
            figures = {name: meter.measure(clips) for name, clips in sets.items()}
            for kind in KINDS:
                twin_figures, base_figures = figures[f"twin, {kind}"], figures[f"base, {kind}"]
                figures[f"twin − base, {kind}"] = {
                    name: twin_figures[name] - base_figures[name] for name in twin_figures
                }
            _print_table(composer, backend, twin, ear, figures)
            if model.traits.level_channels:
                _print_explained(trainer, twin, held)
            _write(options.out / f"{composer.name}-{backend}", sets, figures, rate)
            summary.append(_summary_row(composer, backend, twin, ear))
    columns = ("composer", "backend", "verdict", "ear", "agree", "nearer", "pulse", "persistence")
    print(f"\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    print("\n".join(summary))


def _through_codec(model: Any, clip: Audio) -> Audio:
    copy: Audio = model.reconstruct(clip[None].repeat(model.channels, axis=0)).mean(axis=0)
    return copy


def _excerpts(files: list[Path], options: argparse.Namespace, rate: int) -> list[ClipSet]:
    """As many excerpts, and as long, as the tracks of one kind of prompt."""
    return draw(files, options.seeds, len(NEUTRAL), options.seconds, rate, seed=0)


def _generated(player: Player, twin: Twin, seeds: int) -> dict[str, list[ClipSet]]:
    """The tracks of each seed. The base model plays at the tempo that is the twin's default."""
    tempo = {} if twin.bpm is None else {"bpm": twin.bpm}
    own = twin.captions[: len(NEUTRAL)]
    kinds = {kind: [tempo | prompt for prompt in prompts] for kind, prompts in zip(KINDS, (NEUTRAL, own), strict=True)}
    return {
        f"{name}, {kind}": [player.play(prompts, _FIRST_SEED + seed, lora_id) for seed in range(seeds)]
        for kind, prompts in kinds.items()
        for name, lora_id in (("base", None), ("twin", twin.lora_id))
    }


def _summary_row(composer: Composer, backend: str, twin: Twin, ear: Ear) -> str:
    agree, heard = "yes" if ear.agrees(twin.report["verdict"]["verdict"]) else "no", ear.heard
    words = f"{twin.report['verdict']['verdict']} | {ear.word} | {agree}"
    figures = f"{heard.nearer} | {heard.pulse.difference} | {heard.persistence.difference}"
    return f"| {composer.name} | {backend} | {words} | {figures} |"


def _print_table(composer: Composer, backend: str, twin: Twin, ear: Ear, figures: Mapping[str, Figures]) -> None:
    verdict = twin.report["verdict"]
    print(f"\n### {composer.name}, {backend}\n")
    print(f"Verdict: {verdict['verdict']}. {verdict['sentence']}\n")
    print(f"Ear: {ear}\n")
    print("Captions: " + "; ".join(sorted({prompt["prompt"] for prompt in twin.captions})) + "\n")
    columns = [*MEASURES, DISTANCE]
    print(f"| | {' | '.join(columns)} |")
    print(f"|{'---|' * (len(columns) + 1)}")
    for name, row in figures.items():
        print(f"| {name} | {' | '.join(str(bootstrap(row[column])) for column in columns)} |", flush=True)


def _print_explained(trainer: Any, twin: Twin, held: ClipSet) -> None:
    """R² of the held music's latents, with and without the twin."""
    channels, text = trainer.model.channels, Text(twin.captions[0]["prompt"])
    examples = [trainer.example(clip[None].repeat(channels, axis=0), text) for clip in held]
    pairs = decode(twin.file, trainer.model).pairs
    print("\nR² of the latents of held music, levels / other channels:\n")
    for name, added in (("base", {}), ("twin", pairs)):
        with merged(trainer.model, added):
            rows = explain(trainer, examples, "held", trainer.model.traits.level_channels)
        shown = "; ".join(f"t = {row.time}: {row.levels or 0:.2f} / {row.other or 0:.2f}" for row in rows)
        print(f"- {name}: {shown}", flush=True)


def _write(folder: Path, sets: Mapping[str, list[ClipSet]], figures: Mapping[str, Figures], rate: int) -> None:
    """The tracks and excerpts, the figures of each seed, and the pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, clips in sets.items():
        for seed, clip_set in enumerate(clips):
            for number, clip in enumerate(clip_set):
                soundfile.write(folder / f"{name}, seed {seed}, {number}.flac", clip, rate)
    plain = {
        name: {column: values.round(4).tolist() for column, values in row.items()} for name, row in figures.items()
    }
    (folder / "figures.json").write_text(json.dumps(plain, indent=1, ensure_ascii=False) + "\n")
    for kind in KINDS:
        columns = {"real": "real", "base": f"base, {kind}", "twin": f"twin, {kind}"}
        shown = {
            title: [clip for clips in sets[name] for clip in clips][:_PICTURE_ROWS] for title, name in columns.items()
        }
        draw_spectrograms(shown, rate, folder / f"{kind}.png")
