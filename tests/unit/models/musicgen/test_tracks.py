"""Tracks from rows: audio, texts, long tracks and rows that fail."""

from __future__ import annotations

import copy
from collections.abc import Generator
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import EncodecModel

from adapters.adapter_file import InvalidAdapter
from contract import SamplingOptions
from models.base import Row, Text, run_to_end
from models.loudness import PEAK
from models.musicgen import MusicGen
from models.musicgen import codec as coding
from models.musicgen.text import caption
from tests.unit.models.musicgen.support import ONE_STEP, PROMPT, adapter, play


def test_audio_alone_and_together(model: MusicGen) -> None:
    rows = [
        Row(PROMPT, 1.0, SamplingOptions(seed=1)),
        Row(Text("slow"), 0.3101, SamplingOptions(seed=2, guidance=1.5)),
        Row(PROMPT, 1.0, SamplingOptions(seed=3)),
    ]
    tracks = play(model, *rows)
    for row, track in zip(rows, tracks, strict=True):
        (single,) = play(model, row)
        assert track.dtype == np.float32 and track.shape == (1, round(row.seconds * 32_000))
        assert np.abs(track - single).max() <= ONE_STEP
        assert np.abs(track).max() == pytest.approx(PEAK, abs=1e-4)
    assert np.abs(tracks[0] - tracks[2]).max() > 0.1, "another seed is another track"


@pytest.mark.slow
def test_forty_seconds_go_on_after_the_window(model: MusicGen) -> None:
    (track,) = play(model, Row(PROMPT, 40.0, SamplingOptions(seed=1)))
    assert track.shape == (1, 40 * 32_000)
    late = track[:, 30 * 32_000 :]
    assert all(np.abs(second).max() > 0.01 for second in np.split(late, 10, axis=1))


def test_a_row_that_fails_fails_alone(model: MusicGen) -> None:
    good, weights = Row(PROMPT, 0.5, SamplingOptions(seed=1)), adapter(model, 4, 1)
    pair = next(iter(weights.pairs.values()))
    poisoned = replace(
        weights, pairs={name: replace(pair, a=pair.a * torch.nan) for name, pair in weights.pairs.items()}
    )
    (alone,) = play(model, good)
    broken, beside, misfit, misshapen, unread = model.generate(
        [
            replace(good, seconds=1.5, adapters=[(poisoned, 1.0)]),
            good,
            replace(good, adapters=[(replace(weights, pairs={"nowhere": pair}), 1.0)]),
            replace(good, adapters=[(replace(weights, pairs={"lm_heads.0": pair}), 1.0)]),
            replace(good, seconds=float("nan")),
        ]
    )
    assert isinstance(broken, FloatingPointError)
    assert isinstance(misfit, InvalidAdapter) and isinstance(misshapen, InvalidAdapter)
    assert isinstance(unread, ValueError)
    assert isinstance(beside, np.ndarray) and np.array_equal(beside, alone)
    assert np.array_equal(play(model, good)[0], alone), "nothing of it is left on the model"


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("frames", [1, 40, 41, 133])
def test_pieces_of_audio_are_as_the_whole(
    model: MusicGen, monkeypatch: pytest.MonkeyPatch, causal: bool, frames: int
) -> None:
    config = copy.deepcopy(model.codec.config)
    config.use_causal_conv, config.trim_right_ratio = causal, 1.0
    torch.manual_seed(0)
    codec = EncodecModel(config).eval()
    codes = torch.randint(512, (4, frames))
    with torch.no_grad():
        whole = codec.decode(codes[None, None], [None]).audio_values[0]
    monkeypatch.setattr("models.chunked_decoding._CHUNK_FRAMES", 40)
    monkeypatch.setattr("models.chunked_decoding._MIN_CHUNK_OVERLAPS", 1)
    work = coding.decode(codec, codes, 1)
    pieces = list(work)
    assert len(pieces) == -(-frames // 40)
    parts = run_to_end(coding.decode(codec, codes, 1))
    assert parts.shape == whole.shape == (1, frames * 640)
    assert np.abs(parts - whole.numpy()).max() < 1e-5 * whole.abs().max()


def test_silence_stays_silent(model: MusicGen, monkeypatch: pytest.MonkeyPatch) -> None:
    def silence(*_: object) -> Generator[None, None, NDArray[np.float32]]:
        yield from ()
        return np.zeros((1, 32_000), np.float32)

    monkeypatch.setattr(coding, "decode", silence)
    (track,) = play(model, Row(PROMPT, 0.5, SamplingOptions(seed=1)))
    assert not track.any()


def test_caption_takes_in_what_musicgen_has_no_field_for() -> None:
    assert caption(Text(" a beat ")) == caption(Text("a beat", lyrics=None)) == "a beat"
    assert (
        caption(Text("a beat", "la la", 140, "A minor", "3"))
        == 'a beat, 140 bpm, A minor, 3/4 time, with the words "la la"'
    )


def test_prompts_make_different_tracks(model: MusicGen) -> None:
    one, two = play(
        model,
        Row(Text("calm piano"), 0.5, SamplingOptions(seed=1)),
        Row(Text("calm piano", bpm=90), 0.5, SamplingOptions(seed=1)),
    )
    assert np.abs(one - two).max() > 0.01
