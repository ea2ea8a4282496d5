"""Rows written together, against transformers' `generate` and against themselves alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from contract import SamplingOptions
from models.base import Row
from models.musicgen import MusicGen
from models.musicgen import codec as coding
from models.musicgen.pattern import delay, delays, undelay
from models.musicgen.tokens import TokenRow
from tests.unit.models.musicgen.support import PROMPT, play, token_rows, tokens, write


@pytest.mark.slow
def test_a_row_is_the_same_alone_and_among_strangers(model: MusicGen) -> None:
    rows = token_rows(model)
    alone = [write(model, row)[0] for row in rows]
    for order in ([0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [2, 0, 3], [1, 3]):
        together = write(model, *(rows[index] for index in order))
        for index, codes in zip(order, together, strict=True):
            assert torch.equal(codes, alone[index]), f"row {index} of {order}"
    assert [codes.shape for codes in alone] == [(4, row.frames) for row in rows]
    assert all(int(codes.min()) >= 0 and int(codes.max()) < 512 for codes in alone)


@pytest.mark.slow
def test_windows_do_not_change_what_a_row_is_beside_others(short: MusicGen) -> None:
    frames = (130, 50, 75, 51, 20)
    rows = [replace(row, frames=length) for row, length in zip(token_rows(short), frames, strict=True)]
    together = write(short, *rows)
    for row, codes in zip(rows, together, strict=True):
        assert torch.equal(codes, write(short, row)[0])


@pytest.mark.parametrize("greedy", [True, False])
def test_codes_are_those_of_stock_generate(model: MusicGen, overheard: list[torch.Tensor], greedy: bool) -> None:
    torch.manual_seed(7)
    model.model.generate(**tokens(model), do_sample=not greedy, top_k=250, guidance_scale=3.0, max_new_tokens=43)
    row = TokenRow(model.encode_text(PROMPT), 40, 7, 3.0)
    (codes,) = write(model, row, greedy=greedy)
    assert torch.equal(codes, overheard[0])


def test_stereo_codes_are_those_of_stock_generate(stereo: MusicGen, overheard: list[torch.Tensor]) -> None:
    stereo.model.generate(**tokens(stereo), do_sample=False, guidance_scale=3.0, max_new_tokens=23)
    row = TokenRow(stereo.encode_text(PROMPT), 20, 0, 3.0)
    (codes,) = write(stereo, row, greedy=True)
    assert torch.equal(codes[::2], overheard[0]) and torch.equal(codes[1::2], overheard[1])
    (track,) = play(stereo, Row(PROMPT, 0.5, SamplingOptions(seed=1)))
    assert track.shape == (2, 16_000)
    assert not np.array_equal(track[0], track[1])
    assert coding.encode(stereo.codec, track).shape == (8, 25)


def test_a_window_takes_over_the_end_of_the_last_one(short: MusicGen, overheard: list[torch.Tensor]) -> None:
    """The second window is written as `generate` goes on from a prompt: 20 of 50 frames."""
    row = TokenRow(short.encode_text(PROMPT), 80, 0, 3.0)
    (codes,) = write(short, row, greedy=True)
    (first,) = write(short, replace(row, frames=50), greedy=True)
    assert torch.equal(codes[:, :50], first)
    short.model.generate(
        **tokens(short), decoder_input_ids=codes[:, 30:50], do_sample=False, guidance_scale=3.0, max_length=54
    )
    assert torch.equal(codes[:, 30:80], overheard[0])


@pytest.mark.parametrize("channels", [1, 2])
def test_delay_and_back(channels: int) -> None:
    codes = torch.arange(4 * 3).view(4, 3)
    by = delays(4, channels)
    delayed = delay(codes, by, -1)
    assert by == ([0, 1, 2, 3] if channels == 1 else [0, 0, 1, 1])
    assert delayed[:, 0].tolist() == [-1] * 4
    assert delayed[3, 1 + by[3] :].tolist()[:3] == codes[3].tolist()
    assert torch.equal(undelay(delayed, by), codes)
