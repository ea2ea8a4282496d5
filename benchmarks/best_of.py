"""The tempo of one take, and of the best of four by tempo, on the starters: how often it is more than 2 % off.

    python -m benchmarks.best_of [--prompts 100] [--takes 4] [--seconds 10] [--backends ace_step musicgen]

A prompt is a caption of a song of the synthesiser with drums, in words of the evaluation, with the song's tempo. Takes
are made as in a runner, encoded, measured and ordered as by the service. The first one is what a request for one take
answers.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from scipy.stats import binomtest

from contract import GenerateRequest, SamplingOptions
from generation.delivery.plan import Delivered
from generation.encode import Sound, encode
from generation.figures import Goal, analysed
from generation.provenance import Provenance
from generation.takes import Draft, select
from models import malloc
from models.base import Model, Row, Text
from models.checkpoints import STARTER, resolve
from recipes.synthesiser import sample_song
from recipes.synthesiser.captions import text
from runners import TABLE

WITHIN = 0.02
# Songs of a set of their own: the starters were trained and evaluated on others.
_SONGS = 23


@dataclass(frozen=True)
class Result:
    """How far one take and the best are from the tempo asked for, as a share of it; infinite if none is heard."""

    one: float
    best: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=100)
    parser.add_argument("--takes", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--backends", nargs="+", default=[backend.name for backend in TABLE])
    options = parser.parse_args()
    torch.set_num_threads(os.cpu_count() or 1)
    malloc.keep_freed_memory()
    for backend in TABLE:
        if backend.name not in options.backends:
            continue
        checkpoint = resolve(STARTER, backend.name, backend.load_tiny())
        model = backend.load_model_class().load(checkpoint, torch.device("cpu"), torch.float32)
        began = time.monotonic()
        results = [
            asyncio.run(_measured(model, number, options.takes, options.seconds)) for number in range(options.prompts)
        ]
        for name in ("one", "best"):
            missed = sum(getattr(result, name) > WITHIN for result in results)
            bounds = binomtest(missed, len(results)).proportion_ci()
            print(
                f"{backend.name}, {name if name == 'one' else f'best of {options.takes}'}: {missed} of {len(results)} "
                f"are more than {WITHIN:.0%} off ({bounds.low:.0%} to {bounds.high:.0%})",
                flush=True,
            )
        print(f"{time.monotonic() - began:.0f} s", flush=True)


async def _measured(model: Model[Any], number: int, takes: int, seconds: float) -> Result:
    rng = np.random.default_rng([_SONGS, number])
    song = sample_song(rng, drums=True)
    prompt = text(song, rng, held_out=True)
    request = GenerateRequest(prompt=prompt.prompt, bpm=prompt.bpm, seed=number, best_of=takes, rank="tempo")
    drafts: list[Draft] = []

    async def draw(before: int, count: int) -> list[Draft]:
        options = SamplingOptions(seed=request.take(before).seed)
        made = model.generate(Row(replace(prompt, key=None), seconds, options).takes(count))
        drafts.extend(_draft(model, track, options.take(index).seed, prompt) for index, track in enumerate(made))
        return drafts

    best, _ = await select(request, draw)
    return Result(_off(drafts[0]), _off(best[0]))


def _draft(model: Model[Any], track: Any, seed: int, prompt: Text) -> Draft:
    if isinstance(track, Exception):
        raise track
    provenance = Provenance(model.backend, STARTER, seed)
    sound = Sound((np.ascontiguousarray(track.T),), model.sample_rate)
    file, rate = encode(sound, "wav", provenance)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "track.wav"
        path.write_bytes(file)
        figures, _ = analysed(path, Goal(bpm=prompt.bpm))
    return Draft(seed, Delivered(file, rate, sound.seconds, b""), provenance, figures)


def _off(draft: Draft) -> float:
    assert draft.figures is not None
    return float("inf") if draft.figures.bpm_off is None else draft.figures.bpm_off


if __name__ == "__main__":
    main()
