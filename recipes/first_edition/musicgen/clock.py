"""A clock in the first layer's cross-attention: the beat and the bar at the tempo in the text, for each position.

MusicGen has sinusoidal positions and a text, but no product of the two, and to be on the beat of a tempo that it read a
model would have to learn one. The score between a position and a word is such a product, so in the first layer it
starts as the beat itself: queries hold the sinusoids that are near the tempos' frequencies, and a number's keys the
weights by which these add up to its beat. The first head looks at the number on each beat and away between beats, the
second a quarter of a beat later, the third and the fourth do the same for the bar. What they see there is the same for
all numbers.
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
"""In beats a minute; a number beyond them starts as its half or double."""
FRAMES_A_SECOND = SAMPLE_RATE / HOP
BEATS_A_TURN = (1, 1, 4, 4)
QUARTERS_LATE = (0, 1, 0, 1)
"""Of each head: how many beats the hand takes to turn, and how many quarters of a turn it is late."""
TURNED_SECONDS = 5.0
"""So long the sinusoids, which are 7 % apart, can add up to a beat; to a bar, four times as long."""
SHARPNESS = 5.0
"""The score on the beat."""
PIECES, PIECE = 32, 125
"""Of what the queries are fitted to: pieces, and their frames."""


def hand(bpm: float, head: int, frames: np.ndarray) -> np.ndarray:
    """Where the hand of `head` is at some frames, 1 on its beat and -1 half a turn later."""
    turns = frames / FRAMES_A_SECOND * bpm / 60 / BEATS_A_TURN[head]
    return np.cos(2 * np.pi * (turns - QUARTERS_LATE[head] / 4))


def sinusoids(head: int) -> list[int]:
    """Which channels of the positions `[WIDTH]` are near the frequencies of a head's hands."""
    half = WIDTH // 2
    frequencies = np.exp(-math.log(10_000) / (half - 1) * np.arange(half))  # radians a frame, as MusicGen has them
    lowest, highest = (2 * np.pi * bpm / 60 / FRAMES_A_SECOND / BEATS_A_TURN[head] for bpm in (TEMPOS[0], TEMPOS[-1]))
    near = np.flatnonzero((frequencies > lowest / 1.25) & (frequencies < highest * 1.25))
    return [*near, *(near + half)]


def weights(head: int, table: np.ndarray) -> np.ndarray:
    """By what `sinusoids` add up to each tempo's hand, `[tempos, channels]`; the positions' `table` `[T, WIDTH]`."""
    count = min(len(table), round(TURNED_SECONDS * BEATS_A_TURN[head] * FRAMES_A_SECOND))
    basis = table[:count, sinusoids(head)]
    hands = np.stack([hand(bpm, head, np.arange(count)) for bpm in TEMPOS], 1)
    gram = basis.T @ basis + 1e-3 * count * np.eye(basis.shape[1])
    return np.linalg.solve(gram, basis.T @ hands).T


@torch.no_grad()
def start_clock(decoder: MusicgenForCausalLM, states: torch.Tensor, tempos: torch.Tensor) -> None:
    """Set the first layer's cross-attention.

    Args:
        states: what it attends to, `[N, WIDTH]`, for each word of many texts.
        tempos: the even tempo that each word is the number of, `[N]`; 0 for other words.
    """
    attention = decoder.model.decoder.layers[0].encoder_attn
    count = int(TURNED_SECONDS * max(BEATS_A_TURN) * FRAMES_A_SECOND)
    table = MusicgenSinusoidalPositionalEmbedding.get_embedding(count, WIDTH).double().numpy()
    inputs = _normed_inputs(decoder, states)
    is_number = tempos > 0
    index = (tempos[is_number].long() - TEMPOS[0]) // TEMPOS.step
    width = WIDTH // len(BEATS_A_TURN)
    queries, keys = torch.zeros(len(inputs), WIDTH), torch.zeros(len(states), WIDTH)
    for head in range(len(BEATS_A_TURN)):
        channels = sinusoids(head)
        place = slice(head * width, head * width + len(channels))
        queries[:, place] = torch.from_numpy(table[:PIECE, channels]).float().repeat(PIECES, 1)
        found = torch.from_numpy(weights(head, table)).float()
        keys[is_number, place] = SHARPNESS / attention.scaling * found[index]
    values = torch.where(is_number[:, None], torch.randn(WIDTH).sign(), 0.0)
    counts = torch.where(is_number, len(states) / is_number.sum(), 1.0)  # few words are numbers: count them for more
    attention.q_proj.weight.copy_(_least_squares(inputs, queries, torch.ones(len(inputs))))
    attention.k_proj.weight.copy_(_least_squares(states, keys, counts))
    attention.v_proj.weight.copy_(_least_squares(states, values, counts))
    nn.init.normal_(attention.out_proj.weight, std=WIDTH**-0.5)


def _normed_inputs(decoder: MusicgenForCausalLM, states: torch.Tensor) -> torch.Tensor:
    """What the first layer's cross-attention gets at each position of random pieces, `[PIECES * PIECE, WIDTH]`."""
    given: list[torch.Tensor] = []
    attention = decoder.model.decoder.layers[0].encoder_attn
    hook = attention.register_forward_pre_hook(
        lambda _, args, named: given.append(args[0] if args else named["hidden_states"]), with_kwargs=True
    )
    codes = torch.randint(CODES, (PIECES * CODEBOOKS, PIECE))
    decoder(input_ids=codes, encoder_hidden_states=states[:1].expand(PIECES, 1, -1), use_cache=False)
    hook.remove()
    return given[0].flatten(0, 1)


def _least_squares(given: torch.Tensor, wanted: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    """The linear map `[out, in]` from `given` `[N, in]`, each counted so often, nearest to `wanted` `[N, out]`."""
    inputs, outputs = given.double(), wanted.double()
    weighted = inputs.T * counts.double()
    gram = weighted @ inputs
    gram += 1e-4 * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype)
    return torch.linalg.solve(gram, weighted @ outputs).T.float()
