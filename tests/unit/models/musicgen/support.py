"""Adapters and rows of MusicGen for several tests."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from adapters.batched_lora import blend
from adapters.weights import AdapterWeights
from models.base import Row, Text, run_to_end
from models.musicgen import MusicGen
from models.musicgen.text import caption
from models.musicgen.tokens import Batch, Run, TokenRow
from tests.random_adapters import random_adapter

ONE_STEP = 1 / 32768
PROMPT = Text("808 trap beat, dark synth")


def adapter(
    model: MusicGen, rank: int, seed: int, targets: tuple[str, ...] = ("q_proj", "v_proj", "fc2")
) -> AdapterWeights:
    return random_adapter(model, rank, seed, targets)


def tokens(model: MusicGen) -> Any:
    return model.tokenizer(caption(PROMPT), return_tensors="pt")


def play(model: MusicGen, *rows: Row) -> list[NDArray[np.float32]]:
    tracks = model.generate(rows)
    assert all(isinstance(track, np.ndarray) for track in tracks), tracks
    return [track for track in tracks if isinstance(track, np.ndarray)]


def write(model: MusicGen, *rows: TokenRow, greedy: bool = False) -> list[torch.Tensor]:
    runs = [Run(model.model, replace(row, temperature=0.0) if greedy else row) for row in rows]
    while left := [run for run in runs if run.steps_left]:
        batch = Batch(model.model, left)
        for _ in range(min(run.steps_left for run in left)):
            run_to_end(batch.step())
    return [run.codes for run in runs]


def token_rows(model: MusicGen) -> list[TokenRow]:
    """Rows that differ in everything, texts on both sides of a block's length."""
    one, two = adapter(model, 4, 1), adapter(model, 24, 2, ("k_proj", "out_proj", "fc1", "lm_heads.1"))
    texts = [PROMPT, Text("warm keys " * 9), Text("x"), Text("é日本 " * 25), Text("house", bpm=124)]
    rows = [
        TokenRow(model.encode_text(text), frames, seed, guidance)
        for text, frames, seed, guidance in zip(texts, (60, 41, 75, 60, 1), range(5), (3.0, 1.0, 4.5, 3.0, 2.0))
    ]
    mixtures = [[(one, 1.0)], [], [(two, 0.7)], [(one, 0.5), (two, -0.3)], []]
    return [replace(row, pairs=blend(mixture)) for row, mixture in zip(rows, mixtures, strict=True)]
