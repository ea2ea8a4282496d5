"""Tracks by a variant of the default recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from adapters.adapter_file import Header
from adapters.weights import AdapterWeights, FlatPairs, LoraPair
from benchmarks.real.composers import ClipSet
from benchmarks.real.variants import Variant
from contract import SamplingOptions
from models.base import Row, Text, run_to_end
from training.evaluation.audio_measures import Audio


def play(
    model: Any,
    texts: Sequence[Text],
    seeds: int,
    seconds: float,
    pairs: Mapping[str, LoraPair] | None = None,
    variant: Variant | None = None,
) -> list[ClipSet]:
    """The tracks of each seed, mono, each with noise of its own; by the base model if there is no adapter."""
    adapters = [] if pairs is None or variant is None else [(_weights(pairs, model.backend), variant.strength)]
    rows = [
        Row(text, seconds, SamplingOptions(seed=seed * len(texts) + number), adapters)
        for seed in range(seeds)
        for number, text in enumerate(texts)
    ]
    both = variant is not None and (variant.mix or variant.early)
    tracks = _with_base(model, rows, variant) if variant and both else model.generate(rows)
    for track in tracks:
        if isinstance(track, Exception):
            raise track
    mono = [track.mean(axis=0) for track in tracks]
    return [mono[first : first + len(texts)] for first in range(0, len(mono), len(texts))]


def _weights(pairs: Mapping[str, LoraPair], backend: str) -> AdapterWeights:
    rank = max(len(pair.b) for pair in pairs.values())
    header = Header("real", "recipe", backend, "", "0" * 64, rank, "", "2026-01-01T00:00:00+00:00", "0" * 64)
    return AdapterWeights(header, FlatPairs.of(dict(pairs)))


def _with_base(model: Any, rows: Sequence[Row], variant: Variant) -> list[Audio]:
    """Tracks whose steps are the twin's in part, and otherwise the base model's from the same latents."""
    twins = [model.begin(row) for row in rows]
    plain = [model.begin(replace(row, adapters=())) for row in rows]
    batches = [model.batch(twins), model.batch(plain)]
    while twins[0].steps_left:
        time = twins[0].times[twins[0].step]
        for batch in batches:
            run_to_end(batch.step())
        channels = 0 if time <= variant.early else model.traits.level_channels if variant.mix else None
        for twin, base in zip(twins, plain, strict=True):
            twin.latents = base.latents = joined(twin.latents, base.latents, channels)
    return [run_to_end(model.finish(run, row)) for run, row in zip(twins, rows, strict=True)]


def joined(twin: torch.Tensor, base: torch.Tensor, channels: int | None) -> torch.Tensor:
    """The first channels of `twin` `[1, T, C]` and the others of `base`; all of `twin` if None."""
    first = twin.shape[-1] if channels is None else channels
    return torch.cat([twin[..., :first], base[..., first:]], dim=-1)
