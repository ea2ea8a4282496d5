"""ACE-Step's transformer: a batch with a different adapter in each row, against PEFT and the base model.

Also rows of different lengths, the time to write an adapter into its row, and whether a row depends on its neighbours.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator

import torch

from adapters.batched_lora import copy_into
from adapters.weights import FlatPairs
from benchmarks import models
from benchmarks.measure import Figure, compared, interleaved, summarised
from benchmarks.operations import count
from contract import SamplingOptions
from models.ace_step import packed
from models.ace_step.sampling import Batch, Run
from models.base import Row, Text, run_to_end

ROWS, FRAMES, TEXT = 8, 250, 64
LENGTHS = (10, 30, 60, 120)
STRANGERS = 8


@torch.inference_mode()
def measure(rounds: int) -> Iterator[Figure]:
    model = models.dit()
    context, condition = torch.randn(1, FRAMES, 128), torch.randn(1, TEXT, models.HIDDEN)
    latents = [torch.randn(1, FRAMES, 64) for _ in range(ROWS)]
    times = [0.5] * ROWS
    targets = {"attention": models.DIT_ATTENTION, "attention and MLP": models.DIT_ATTENTION + models.DIT_MLP}
    adapters = {
        where: [models.adapter(model, "ace_step", names, seed) for seed in range(ROWS)]
        for where, names in targets.items()
    }

    def pack(weights: list) -> packed.Pack:
        return packed.Pack(model, [packed.stream(model, context, condition, each) for each in weights])

    base = pack([{}] * ROWS)
    mixed = {where: pack([each.pairs for each in weights]) for where, weights in adapters.items()}
    peft = models.in_peft(copy.deepcopy(model), adapters["attention"], models.DIT_ATTENTION)
    names = [f"twin{number}" for number in range(ROWS)]
    t = torch.full((ROWS,), 0.5)
    batch = (torch.cat(latents), t, t, condition.expand(ROWS, -1, -1), context.expand(ROWS, -1, -1))

    def one_by_one() -> list[torch.Tensor]:
        results = []
        for number, x in enumerate(latents):
            peft.set_adapter(names[number])
            results.append(peft(x, t[:1], t[:1], condition, context, return_dict=False)[0])
        return results

    implementations = {
        "base": lambda: base.velocities(latents, times),
        "attention": lambda: mixed["attention"].velocities(latents, times),
        "attention and MLP": lambda: mixed["attention and MLP"].velocities(latents, times),
        "PEFT mixed": lambda: peft(*batch, return_dict=False, adapter_names=names),
        "one by one": one_by_one,
    }
    expected = torch.cat(one_by_one())
    off = (torch.cat(implementations["attention"]()) - expected).abs().max() / expected.std()
    yield Figure("DiT: largest difference to PEFT one by one, of the deviation", "≤ 1e-4", off.item())
    taken = interleaved(implementations, rounds)
    for where, target in (("attention", "≥ 0.92"), ("attention and MLP", "≥ 0.90")):
        yield compared(f"DiT: throughput of 8 adapters on {where} / base batch", target, taken, "base", where)
    yield compared("DiT: the same by PEFT's mixed batch, attention", "", taken, "base", "PEFT mixed")
    yield compared("DiT: the same by set_adapter for each request, attention", "", taken, "base", "one by one")
    counted = {name: count(run) for name, run in implementations.items()}
    for name, target in (("attention", "≤ 1.2"), ("attention and MLP", "≤ 1.2"), ("PEFT mixed", "")):
        yield Figure(f"DiT: operations of 8 adapters, {name} / base", target, counted[name] / counted["base"])


@torch.inference_mode()
def lengths(rounds: int) -> Iterator[Figure]:
    """One batch of rows of different lengths, against each row alone."""
    model = models.dit()
    condition = torch.randn(1, TEXT, models.HIDDEN)
    latents = [torch.randn(1, 25 * seconds, 64) for seconds in LENGTHS]
    streams = [packed.stream(model, torch.randn(1, x.shape[1], 128), condition, {}) for x in latents]
    together = packed.Pack(model, streams)
    each = [packed.Pack(model, [stream]) for stream in streams]
    implementations = {
        "together": lambda: together.velocities(latents, [0.5] * len(latents)),
        "alone": lambda: [pack.velocities([x], [0.5]) for pack, x in zip(each, latents, strict=True)],
    }
    taken = interleaved(implementations, rounds)
    yield compared("DiT: 10, 30, 60, 120 s in one batch / the sum of each alone", "≤ 1.05", taken, "together", "alone")


@torch.inference_mode()
def one_row(rounds: int) -> Iterator[Figure]:
    """Writing an adapter of 22 MB into its row, against copying a tensor of that size.

    The adapter has rank 16 on all attention of 24 layers of width 2048 in bfloat16. Wall time on all cores, as in a
    runner, since one core does not reach the memory bandwidth.
    """
    model = models.dit(2048, 1)
    model.layers.to(torch.bfloat16)
    adapters = [models.adapter(model, "ace_step", models.DIT_ATTENTION, seed).pairs for seed in range(24)]
    layers = ((f"{number}.{name}", pair) for number, own in enumerate(adapters) for name, pair in own.items())
    pairs = FlatPairs.of(dict(layers))
    room = FlatPairs(pairs.shapes, torch.zeros(2, len(pairs.flat), dtype=torch.bfloat16))
    implementations = {
        "write an adapter of 22 MB into its row": lambda: copy_into(room, 1, pairs),
        "copy as much from tensor to tensor": lambda: room.flat[0].copy_(pairs.flat),
    }
    taken = interleaved(implementations, 10 * rounds, time.perf_counter)
    for (name, seconds), target in zip(taken.items(), ("≤ 2", ""), strict=True):
        yield summarised(f"DiT: ms to {name}", target, [1000 * each for each in seconds])


@torch.inference_mode()
def strangers(rounds: int) -> Iterator[Figure]:
    """The result of a row alone, against the same row among seven others, in ours and in the stock pipeline."""
    model = models.ace_step()
    twins = [models.adapter(model.adapted, "ace_step", models.DIT_ATTENTION, seed) for seed in range(STRANGERS)]
    rows = [
        Row(
            Text("beat " * (1 + 7 * number), bpm=90 + number),
            3.0 + number,
            SamplingOptions(seed=number),
            adapters=[(twin, 1.0)],
        )
        for number, twin in enumerate(twins)
    ]

    def sampled(some: list[Row]) -> torch.Tensor:
        runs = [Run(model.pipeline, row, model.defaults) for row in some]
        while any(run.steps_left for run in runs):
            run_to_end(Batch(model.pipeline, runs).step())
        return runs[0].latents

    def stock(prompts: list[str]) -> torch.Tensor:
        generators = [torch.Generator().manual_seed(number) for number in range(len(prompts))]
        lyrics = ["[Instrumental]"] * len(prompts)
        made = model.pipeline(
            prompt=prompts, lyrics=lyrics, audio_duration=4.0, generator=generators, output_type="latent"
        )
        return made.audios[:1]

    for name, target, one, other in (
        ("ours", "≤ 1e-5", sampled(rows[:1]), sampled(rows)),
        ("stock pipeline", "", stock([rows[0].text.prompt]), stock([row.text.prompt for row in rows])),
    ):
        off = (one - other).abs().max() / one.std()
        yield Figure(f"ACE-Step, {name}: a row alone against among 7 strangers, of its deviation", target, off.item())
