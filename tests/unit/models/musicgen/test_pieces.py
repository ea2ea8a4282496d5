"""Audio that is decoded while the codes are written."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import EncodecModel

from contract import SamplingOptions
from models.base import Row, run_to_end
from models.musicgen import MusicGen
from models.musicgen import codec as coding
from models.musicgen.codec import PieceDecoder
from runners.scheduler import Scheduler
from tests.unit.models.musicgen.support import PROMPT, play


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("norm", ["weight_norm", "time_group_norm"])
@pytest.mark.parametrize("frames", [1, 49, 50, 51, 133])
def test_pieces_are_as_the_whole(model: MusicGen, causal: bool, norm: str, frames: int) -> None:
    config = copy.deepcopy(model.codec.config)
    config.use_causal_conv, config.trim_right_ratio, config.norm_type = causal, 1.0, norm
    torch.manual_seed(0)
    codec = EncodecModel(config).eval()
    codes = torch.randint(512, (4, frames))
    whole = run_to_end(coding.decode(codec, codes, 1))
    decoder, pieces = PieceDecoder(codec, 1, frames), list[NDArray[np.float32]]()
    while (needed := decoder.needed_frames) is not None:
        assert norm == "weight_norm" or needed == frames
        pieces.append(decoder.decode(codes[:, :needed]))
    assert len(pieces) == -(-frames // coding.PIECE_FRAMES)
    assert np.abs(np.concatenate(pieces, axis=1) - whole).max() < 1e-5 * np.abs(whole).max()


@pytest.mark.parametrize("kind", ["model", "short", "stereo"])
def test_a_row_is_given_away_while_it_is_written(kind: str, request: pytest.FixtureRequest) -> None:
    """Also where a track has several windows. Its samples are those of the whole, but for the level."""
    music: MusicGen = request.getfixturevalue(kind)
    pieces, steps = list[NDArray[np.float32]](), list[int]()
    scheduler = Scheduler(music)

    def emit(piece: NDArray[np.float32]) -> None:
        pieces.append(piece)
        steps.append(ticket.run.steps_left if ticket.run else -1)

    row = Row(PROMPT, 3.01, SamplingOptions(seed=5))
    ticket = scheduler.add(replace(row, emit=emit))
    answers = []
    while scheduler.tickets:
        answers += scheduler.run_slice()
    ((_, rest),) = answers
    assert isinstance(rest, np.ndarray) and rest.shape == (music.channels, 0)
    assert steps[0] > ticket.plan.steps / 2 and steps == sorted(steps, reverse=True)
    (whole,) = play(music, row)
    streamed = np.concatenate(pieces, axis=1)
    gain = np.abs(whole).max() / np.abs(streamed).max()
    assert streamed.shape == whole.shape
    assert np.abs(streamed * gain - whole).max() < 1e-4
