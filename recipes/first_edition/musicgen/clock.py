"""Initialise the first layer's cross-attention as a clock: beat and bar of the prompt's tempo, at each position.

To be on the beat of a tempo in the prompt, a model has to multiply position and text. The attention score of a position
and a word is such a product, so in the first layer it starts as the beat itself: queries hold the sinusoids near the
tempos' frequencies, and the keys of a number hold the weights with which these sum to its beat. The first head attends
to the number on each beat and not between beats, the second a quarter of a beat later; the third and fourth do the same
for the bar. The values are the same for all numbers.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn
from transformers import MusicgenForCausalLM
from transformers.models.musicgen.modeling_musicgen import MusicgenSinusoidalPositionalEmbedding

from ..data import SAMPLE_RATE
from .architecture import CODEBOOKS, CODES, HOP, WIDTH

TEMPOS = range(70, 162, 2)
"""Beats per minute; a number outside the range starts as its half or double."""
FRAME_RATE = SAMPLE_RATE / HOP
BEATS_PER_TURN = (1, 1, 4, 4)
PHASE_QUARTERS = (0, 1, 0, 1)
"""Of each head's hand: period in beats, and phase lag in quarters of a turn."""
FITTED_SECONDS = 5.0
"""For how long the sinusoids, which are 7 % apart, can sum to a beat; to a bar, four times as long."""
SHARPNESS = 5.0
"""The score on the beat."""
FIT_PIECES, FIT_FRAMES = 32, 125
"""Random pieces that the queries are fitted to, and their length."""


def hand(bpm: float, head: int, frames: np.ndarray) -> np.ndarray:
    """The position of a head's hand at some frames: 1 on its beat, -1 half a turn later."""
    turns = frames / FRAME_RATE * bpm / 60 / BEATS_PER_TURN[head]
    return np.cos(2 * np.pi * (turns - PHASE_QUARTERS[head] / 4))


def sinusoids(head: int) -> list[int]:
    """The channels of the positional embedding `[WIDTH]` near the frequencies of a head's hands."""
    half = WIDTH // 2
    frequencies = np.exp(-math.log(10_000) / (half - 1) * np.arange(half))  # radians a frame, as MusicGen has them
    lowest, highest = (2 * np.pi * bpm / 60 / FRAME_RATE / BEATS_PER_TURN[head] for bpm in (TEMPOS[0], TEMPOS[-1]))
    near = np.flatnonzero((frequencies > lowest / 1.25) & (frequencies < highest * 1.25))
    return [*near, *(near + half)]


def weights(head: int, table: np.ndarray) -> np.ndarray:
    """Weights `[tempos, channels]` with which `sinusoids` of the positional `table` `[T, WIDTH]` sum to the hands."""
    count = min(len(table), round(FITTED_SECONDS * BEATS_PER_TURN[head] * FRAME_RATE))
    basis = table[:count, sinusoids(head)]
    hands = np.stack([hand(bpm, head, np.arange(count)) for bpm in TEMPOS], 1)
    gram = basis.T @ basis + 1e-3 * count * np.eye(basis.shape[1])
    return np.linalg.solve(gram, basis.T @ hands).T


@torch.no_grad()
def start_clock(decoder: MusicgenForCausalLM, states: torch.Tensor, tempos: torch.Tensor) -> None:
    """Initialise the first layer's cross-attention.

    Args:
        states: encoder states `[N, WIDTH]` of the words of many texts.
        tempos: the even tempo that each word stands for `[N]`; 0 for words that are not numbers.
    """
    attention = decoder.model.decoder.layers[0].encoder_attn
    count = int(FITTED_SECONDS * max(BEATS_PER_TURN) * FRAME_RATE)
    table = MusicgenSinusoidalPositionalEmbedding.get_embedding(count, WIDTH).double().numpy()
    inputs = _normed_inputs(decoder, states)
    is_number = tempos > 0
    index = (tempos[is_number].long() - TEMPOS[0]) // TEMPOS.step
    width = WIDTH // len(BEATS_PER_TURN)
    queries, keys = torch.zeros(len(inputs), WIDTH), torch.zeros(len(states), WIDTH)
    for head in range(len(BEATS_PER_TURN)):
        channels = sinusoids(head)
        place = slice(head * width, head * width + len(channels))
        queries[:, place] = torch.from_numpy(table[:FIT_FRAMES, channels]).float().repeat(FIT_PIECES, 1)
        found = torch.from_numpy(weights(head, table)).float()
        keys[is_number, place] = SHARPNESS / attention.scaling * found[index]
    values = torch.where(is_number[:, None], torch.randn(WIDTH).sign(), 0.0)
    counts = torch.where(
        is_number, len(states) / is_number.sum(), 1.0
    )  # balances numbers, which are few, against other words
    attention.q_proj.weight.copy_(_least_squares(inputs, queries, torch.ones(len(inputs))))
    attention.k_proj.weight.copy_(_least_squares(states, keys, counts))
    attention.v_proj.weight.copy_(_least_squares(states, values, counts))
    nn.init.normal_(attention.out_proj.weight, std=WIDTH**-0.5)


def _normed_inputs(decoder: MusicgenForCausalLM, states: torch.Tensor) -> torch.Tensor:
    """The input of the first cross-attention at each position of random pieces, `[FIT_PIECES * FIT_FRAMES, WIDTH]`."""
    given: list[torch.Tensor] = []
    attention = decoder.model.decoder.layers[0].encoder_attn
    hook = attention.register_forward_pre_hook(
        lambda _, args, named: given.append(args[0] if args else named["hidden_states"]), with_kwargs=True
    )
    codes = torch.randint(CODES, (FIT_PIECES * CODEBOOKS, FIT_FRAMES))
    decoder(input_ids=codes, encoder_hidden_states=states[:1].expand(FIT_PIECES, 1, -1), use_cache=False)
    hook.remove()
    return given[0].flatten(0, 1)


def _least_squares(given: torch.Tensor, wanted: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    """The linear map `[out, in]` from `given` `[N, in]` to `wanted` `[N, out]`, each row weighted by `counts`."""
    inputs, outputs = given.double(), wanted.double()
    weighted = inputs.T * counts.double()
    gram = weighted @ inputs
    gram += 1e-4 * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype)
    return torch.linalg.solve(gram, weighted @ outputs).T.float()
