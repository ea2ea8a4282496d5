"""The best version of a twin against the last one, and the gain at each `lora_scale`, on synthetic producers.

    python -m benchmarks.best [--producers 12] [--backends ace_step musicgen] [--songs 6] [--seconds 30] [--steps N]

A producer is a style of the synthesiser. The service's trainer and loop train an adapter on its songs to the last step,
but on those that a job holds out. The held-out loss is measured as in a job, which gives the version that a job keeps,
and the step at which it stops. That version and the last one are measured again with other noise: on the held-out
songs, and on new songs of the producer, which neither trained the adapter nor chose its version.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.training import clip_of, loaded
from recipes.synthesiser import GENRES, UNSEEN_STYLES, sample_song
from training.base import Example
from training.evaluation.held_out import choose_held_out
from training.evaluation.losses import measure
from training.evaluation.scales import measure_scales
from training.fit import HELD_OUT_DRAWS, HELD_OUT_SEED
from training.loop import Session, session
from training.version_choice import VersionChoice, measured_steps

PRODUCERS = (*UNSEEN_STYLES, *GENRES)
_CLIP_SECONDS = 15.0
_NEW_SONGS = 3


@dataclass(frozen=True)
class Result:
    """One producer on one backend.

    Attributes:
        steps: of the whole training.
        curve: (step, held-out loss), as a job measures it.
        best_step: the step whose version is kept.
        stops_at: the step at which a job stops.
        held_out, new: the losses of the base model, the best and the last version, on held-out and on new songs.
        gains: of the best version on held-out songs, by scale.
        scale: the recommended one.
        new_at_scale: the loss of the best version on new songs, at that scale.
    """

    backend: str
    producer: str
    steps: int
    curve: list[tuple[int, float]]
    best_step: int
    stops_at: int
    held_out: dict[str, float]
    new: dict[str, float]
    gains: dict[float, float]
    scale: float
    new_at_scale: float

    def __str__(self) -> str:
        ends = f"{self.best_step}/{self.stops_at} of {self.steps}"
        held_out, new = (
            f"{part['base']:.4f} {part['best']:.4f} {part['last']:.4f} ({_change(part):+.2%})"
            for part in (self.held_out, self.new)
        )
        gain = self.new_at_scale / self.new["best"] - 1
        return f"{self.backend:9} {self.producer:16} {ends:18} {held_out:32} {new:32} {self.scale:<5g} ({gain:+.2%})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--producers", type=int, default=4, help=f"up to {len(PRODUCERS)}")
    parser.add_argument("--backends", nargs="+", default=["ace_step", "musicgen"])
    parser.add_argument("--songs", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=30.0, help="length of each song")
    parser.add_argument("--steps", type=int, help="those of a job on as much music if left out")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, help="a file for the results as JSON")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"{'backend':9} {'producer':16} {'best/stop':18} {'held out: base best last':32} ", end="")
    print(f"{'new songs: base best last':32} scale (new songs)", flush=True)
    results: list[Result] = []
    for backend in options.backends:
        _, model, trainer = loaded(backend)
        for producer in PRODUCERS[: options.producers]:
            began = time.monotonic()
            result = measure_producer(model, trainer, producer, options.songs, options.seconds, options.steps)
            results.append(result)
            print(f"{result}  {time.monotonic() - began:.0f} s", flush=True)
            if options.out:
                options.out.write_text(json.dumps([asdict(each) for each in results], indent=1))
    for name in ("held_out", "new"):
        changes = [_change(getattr(result, name)) for result in results]
        worse = sum(change > 0 for change in changes)
        print(f"{name}: best against last {np.mean(changes):+.2%} in the mean, worse in {worse} of {len(results)}")


def measure_producer(
    model: Any, trainer: Any, producer: str, songs: int, seconds: float, steps: int | None = None
) -> Result:
    """Train a twin of the producer to the last step, and measure its versions.

    Args:
        songs: sent to the training, those that are held out included.
        seconds: length of each song.
        steps: those of a job on as much music if None.
    """
    made = [_examples(model, trainer, producer, number, seconds) for number in range(songs + _NEW_SONGS)]
    held_out_songs = choose_held_out([(number, str(number), seconds) for number in range(songs)])
    train, held_out, new = (
        [example for number in numbers for example in made[number]]
        for numbers in (sorted(set(range(songs)) - held_out_songs), held_out_songs, range(songs, songs + _NEW_SONGS))
    )
    recipe = trainer.recipe((songs - len(held_out_songs)) * seconds)
    if steps:
        recipe = replace(recipe, steps=steps, warmup=min(recipe.warmup, steps // 10))
    due, stops_at = measured_steps(recipe.steps), recipe.steps
    curve: list[tuple[int, float]] = []
    choice = VersionChoice("best", bool(held_out), recipe.steps)
    with session(trainer, model.adapted, recipe) as running:
        curve.append((0, _loss(running, held_out, HELD_OUT_SEED, HELD_OUT_DRAWS)))
        while running.step < recipe.steps:
            running.advance(train)
            if running.step in due:
                loss = _loss(running, held_out, HELD_OUT_SEED, HELD_OUT_DRAWS)
                curve.append((running.step, loss))
                if stops_at == recipe.steps:
                    choice.offer(running, loss)
                    stops_at = running.step if choice.ends_training else recipe.steps
        last = _losses(running, held_out, new)
        choice.apply(running)
        kept = _losses(running, held_out, new)
        gains = measure_scales(running, held_out)
        with running.scaled(gains.recommended):
            scaled = _loss(running, new, "again")
        with running.disable_adapter():
            base = _losses(running, held_out, new)
    assert choice.best_step is not None
    held_out_losses, new_losses = ({"base": base[n], "best": kept[n], "last": last[n]} for n in range(2))
    return Result(
        backend=model.backend,
        producer=producer,
        steps=recipe.steps,
        curve=curve,
        best_step=choice.best_step,
        stops_at=stops_at,
        held_out=held_out_losses,
        new=new_losses,
        gains=gains.gains,
        scale=gains.recommended,
        new_at_scale=scaled,
    )


def _examples(model: Any, trainer: Any, producer: str, number: int, seconds: float) -> list[Example]:
    """The examples of a song, of up to `_CLIP_SECONDS` each."""
    rng = np.random.default_rng([2_026, number])
    song = sample_song(rng, producer)
    audio, text = clip_of(model, song, rng, seconds)
    width = round(_CLIP_SECONDS * model.sample_rate)
    parts = [audio[:, start : start + width] for start in range(0, audio.shape[1], width)]
    return [trainer.example(np.ascontiguousarray(part), text) for part in parts]


def _losses(running: Session, held_out: Sequence[Example], new: Sequence[Example]) -> tuple[float, float]:
    return _loss(running, held_out, "held_out"), _loss(running, new, "again")


def _loss(running: Session, examples: Sequence[Example], seed: str, draws: int = 4) -> float:
    return float(measure(running, examples, seed, draws).mean())


def _change(part: Mapping[str, float]) -> float:
    """The loss of the best version relative to that of the last one."""
    return part["best"] / part["last"] - 1


if __name__ == "__main__":
    main()
