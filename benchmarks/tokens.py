"""MusicGen's decoder: a batch with a different adapter in each row, against transformers' `generate` and PEFT."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace

import torch

from adapters.batched_lora import blend
from benchmarks import models
from benchmarks.measure import Figure, compared, interleaved
from benchmarks.operations import count
from models.base import Text, run_to_end
from models.musicgen.tokens import Batch, Run, TokenRow

ROWS, FRAMES = 8, 40


@torch.inference_mode()
def measure(rounds: int) -> Iterator[Figure]:
    model = models.musicgen()
    decoder = model.model.decoder
    adapters = [models.adapter(decoder, "musicgen", models.DECODER_ATTENTION, seed) for seed in range(ROWS)]
    text = Text("808 trap beat, dark synth")
    plain = [TokenRow(model.encode_text(text), FRAMES, seed, 3.0) for seed in range(ROWS)]
    tuned = [replace(row, pairs=blend([(twin, 1.0)])) for row, twin in zip(plain, adapters, strict=True)]
    inputs = model.tokenizer([text.prompt] * ROWS, return_tensors="pt")
    one = model.tokenizer([text.prompt], return_tensors="pt")
    new = {"do_sample": True, "guidance_scale": 3.0, "max_new_tokens": FRAMES + 3}

    stock = copy.copy(model.model)
    stock.decoder = copy.deepcopy(decoder)
    # Both end with the codes: the codec's work would be the same.
    stock.audio_encoder = copy.copy(model.codec)
    stock.audio_encoder.decode = lambda *_, **__: SimpleNamespace(audio_values=torch.zeros(ROWS, 1, 1))
    targets = models.DECODER_ATTENTION
    peft = models.in_peft(copy.deepcopy(decoder), adapters, targets)
    names = [f"twin{number}" for number in range(ROWS)]

    def own(rows: list[TokenRow]) -> None:
        runs = [Run(model.model, row) for row in rows]
        batch = Batch(model.model, runs)
        while runs[0].steps_left:
            run_to_end(batch.step())

    def mixed() -> None:
        """PEFT's mixed batch, its names twice for guidance."""
        forward = stock.decoder.forward
        inner = peft.base_model.model
        enable = peft.base_model._enable_peft_forward_hooks
        try:
            stock.decoder.forward = lambda *args, **more: _with_names(enable, inner, names * 2, args, more)
            stock.generate(**inputs, **new)
        finally:
            stock.decoder.forward = forward

    def one_by_one() -> None:
        inner = stock.decoder
        stock.decoder = peft.base_model.model
        try:
            for name in names:
                peft.set_adapter(name)
                stock.generate(**one, **new)
        finally:
            stock.decoder = inner

    implementations = {
        "base": lambda: own(plain),
        "adapters": lambda: own(tuned),
        "generate": lambda: stock.generate(**inputs, **new),
        "PEFT mixed": mixed,
        "one by one": one_by_one,
    }
    taken = interleaved(implementations, rounds)
    yield compared("MusicGen: throughput of 8 adapters on attention / base batch", "≥ 0.90", taken, "base", "adapters")
    yield compared("MusicGen: 8 adapters / generate one by one", "≥ 4.5", taken, "one by one", "adapters")
    yield compared("MusicGen: own loop / generate's batch, no adapters", "≤ 0.95", taken, "base", "generate")
    yield compared("MusicGen: throughput of PEFT's mixed batch / generate's batch", "", taken, "generate", "PEFT mixed")
    alone = interleaved({"8": lambda: own(plain), "1": lambda: own(plain[:1])}, rounds)
    yield compared("MusicGen: time of 8 rows / of one row", "", alone, "8", "1")
    counted = {name: count(implementations[name]) / (FRAMES + 3) for name in ("base", "adapters", "generate")}
    for name, launches in counted.items():
        yield Figure(f"MusicGen: operations for a token, {name}", "", launches)


def _with_names(enable, model, names, args, more):  # type: ignore[no-untyped-def]
    with enable(adapter_names=names):
        return model(*args, **more)
