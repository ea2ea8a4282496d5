"""Rows that continue a recording."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from contract import SamplingOptions
from core.errors import Refusal
from models.base import Edit, Recording, Row
from models.musicgen import MusicGen
from models.musicgen import codec as coding
from tests.unit.models.musicgen.support import ONE_STEP, PROMPT, play, tokens

RATE = 32_000


def recording(seconds: float, added: float, channels: int = 1) -> Recording:
    time = np.arange(round(seconds * RATE)) / RATE
    wave = 0.3 * np.sin(2 * np.pi * 220 * time) + 0.1 * np.sin(2 * np.pi * 3 * time)
    padded = np.concatenate([wave, np.zeros(round(added * RATE))]).astype(np.float32)
    return Recording(np.repeat(padded[None], channels, axis=0), "0")


def extended(seconds: float, added: float, seed: int = 1, channels: int = 1, temperature: float | None = None) -> Row:
    source = recording(seconds, added, channels)
    edit = Edit("extend", source, seconds, seconds + added)
    return Row(PROMPT, seconds + added, SamplingOptions(seed=seed, temperature=temperature), edit=edit)


def test_a_recording_is_kept_and_continued(model: MusicGen) -> None:
    assert "extend" in model.tasks
    row = extended(0.7131, 0.5)
    assert row.edit
    (track,) = play(model, row)
    start = round(0.7131 * RATE)
    assert track.shape == (1, round(1.2131 * RATE))
    assert np.array_equal(track[:, :start], row.edit.source.samples[:, :start])
    assert np.abs(track[:, start:]).max() > 1e-3
    assert model.plan(row).steps == 25 + 3


def test_the_codes_are_those_of_stock_generate(model: MusicGen, overheard: list[torch.Tensor]) -> None:
    row = extended(0.6, 0.4, temperature=0.0)
    assert row.edit
    codes = model.begin(row).codes[:, :30]
    expected = coding.encode(model.codec, row.edit.source.samples[:, : 30 * 640])
    assert torch.equal(codes, expected)
    run = model.begin(row)
    while run.steps_left:
        for _ in model.batch([run]).step():
            pass
    model.model.generate(
        **tokens(model), decoder_input_ids=codes, do_sample=False, guidance_scale=3.0, max_length=50 + 4
    )
    assert torch.equal(run.codes, overheard[0])


def test_a_row_is_the_same_alone_and_among_strangers(model: MusicGen) -> None:
    rows = [
        extended(0.7, 0.5),
        Row(PROMPT, 0.8, SamplingOptions(seed=2)),
        extended(0.2, 0.31, seed=3),
        replace(extended(0.5, 0.2, seed=4), options=SamplingOptions(seed=4, guidance=1.5)),
    ]
    together = play(model, *rows)
    for row, track in zip(rows, together, strict=True):
        assert np.abs(play(model, row)[0] - track).max() <= ONE_STEP


def test_the_prompt_is_the_end_of_a_long_recording(short: MusicGen) -> None:
    """A window of 1 s takes over 0.4 s."""
    row = extended(1.5, 1.2, temperature=0.0)
    late = replace(extended(0.4, 1.2, temperature=0.0))
    assert row.edit and late.edit
    end = row.edit.source.samples[:, round(1.1 * RATE) :]
    late = replace(late, edit=replace(late.edit, source=Recording(end, "1")))
    assert np.array_equal(play(short, row)[0][:, round(1.5 * RATE) :], play(short, late)[0][:, round(0.4 * RATE) :])


def test_stereo(stereo: MusicGen) -> None:
    row = extended(0.3, 0.2, channels=2)
    (track,) = play(stereo, row)
    assert row.edit and track.shape == (2, round(0.5 * RATE))
    assert np.array_equal(track[:, : round(0.3 * RATE)], row.edit.source.samples[:, : round(0.3 * RATE)])


def test_nothing_is_made_before_a_recording(model: MusicGen) -> None:
    source = recording(0.5, 0.5)
    for edit in (Edit("extend", source, 0.0, 0.5, before=0.5), Edit("extend", source, 0.8, 1.0, before=0.5)):
        with pytest.raises(Refusal, match="before"):
            model.plan(Row(PROMPT, 1.0, SamplingOptions(seed=1), edit=edit))
