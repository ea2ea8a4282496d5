"""Recordings become latents in pieces, and once for all rows that have them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from models.ace_step import AceStep, codec
from models.ace_step.recordings import RecordingEncoder
from models.ace_step.timbre import excerpt
from models.base import Recording, run_to_end
from tests.unit.models.ace_step.support import latents, recording, row

HOP = 1920


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.chunked_decoding._CHUNK_FRAMES", 20)
    monkeypatch.setattr("models.chunked_decoding._MIN_CHUNK_OVERLAPS", 1)


@pytest.mark.usefixtures("small_chunks")
def test_latents_in_pieces_are_those_of_the_whole(model: AceStep) -> None:
    samples = recording(5.2, 1).samples
    with torch.inference_mode():
        whole = model.pipeline.vae.encode(torch.from_numpy(samples)[None]).latent_dist.mean.transpose(1, 2)
    work = codec.encode(model.pipeline.vae, samples, 130, model.device)
    pauses = 0
    try:
        while True:
            next(work)
            pauses += 1
    except StopIteration as end:
        pieces = end.value
    assert pauses == 7 and pieces.shape == whole.shape
    assert (pieces - whole).abs().max() <= 1e-5 * whole.std()


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("more", [0, 1, HOP - 1])
def test_the_posterior_in_pieces_is_that_of_the_whole(model: AceStep, more: int) -> None:
    """Training's examples; their music ends anywhere within a frame."""
    seconds = (130 * HOP + more) / model.sample_rate
    samples = recording(seconds, 1).samples[:, : 130 * HOP + more]
    assert samples.shape[1] == 130 * HOP + more
    with torch.inference_mode():
        whole = model.pipeline.vae.encode(torch.from_numpy(samples)[None]).latent_dist
    pieces = run_to_end(codec.posterior(model.pipeline.vae, samples, model.device))
    for found, wanted in zip(pieces, (whole.mean, whole.std), strict=True):
        assert found.shape == (1, 130, 8)
        assert (found - wanted.transpose(1, 2)).abs().max() <= 1e-5 * wanted.std()


def test_a_span_is_that_of_the_whole(model: AceStep) -> None:
    generator = torch.Generator().manual_seed(1)
    z = torch.randn(1, 130, 8, generator=generator)
    whole = run_to_end(codec.decode(model.pipeline.vae, z))
    for start, end in ((0, 1), (40, 90), (129, 130), (0, 130)):
        part = run_to_end(codec.decode_span(model.pipeline.vae, z, start, end))
        assert part.shape[1] == (end - start) * HOP
        assert (part - whole[:, start * HOP : end * HOP]).abs().max() <= 1e-5 * whole.std()


def test_audio_is_padded_to_whole_frames(model: AceStep) -> None:
    for samples in (1, HOP - 1, HOP + 1):
        clip = recording(1.0).samples[:, :samples]
        assert run_to_end(codec.encode(model.pipeline.vae, clip, 2, model.device)).shape == (1, 2, 8)


def test_the_structure_in_pieces_is_that_of_the_whole(model: AceStep, monkeypatch: pytest.MonkeyPatch) -> None:
    each = row("cover", 4.28)
    whole = run_to_end(RecordingEncoder(model.pipeline).encode(each)).structure
    monkeypatch.setattr("models.ace_step.recordings._CHUNK_TOKENS", 3)
    pieces = run_to_end(RecordingEncoder(model.pipeline).encode(each)).structure
    assert whole is not None and pieces is not None and whole.shape == (1, 107, 8)
    assert (pieces - whole).abs().max() <= 1e-5 * whole.std()


@pytest.mark.slow
def test_recordings_are_encoded_once(model: AceStep, encoded: list[int]) -> None:
    rows = [row("repaint", 2.0, seed, reference=True) for seed in (1, 1, 2)]
    rows[1] = replace(rows[1], options=rows[2].options)
    assert [model.plan(each).encoded_seconds for each in rows] == [32.0] * 3
    latents(model, rows)
    assert sum(encoded) >= 2 * 32 * 48_000
    encoded.clear()
    assert [model.plan(each).encoded_seconds for each in rows] == [0.0] * 3
    latents(model, rows)
    assert encoded == []
    assert model.plan(row("cover", 2.0, 1)).encoded_seconds == 2.0, "its audio tokens are not known yet"


@pytest.mark.slow
@pytest.mark.usefixtures("small_chunks")
def test_preparation_pauses_and_begin_finds_its_results(model: AceStep, encoded: list[int]) -> None:
    each = row("cover", 4.0, reference=True)
    assert sum(1 for _ in model.prepare(each)) >= 4 * 25 / 20 + 30 * 25 / 20
    encoded.clear()
    model.begin(each)
    assert encoded == []


@pytest.mark.slow
def test_the_least_recently_used_is_forgotten(model: AceStep, encoded: list[int]) -> None:
    size = 50 * 8 * 4
    model._recordings = RecordingEncoder(model.pipeline, max_bytes=2 * size)
    for seed in (1, 2, 1, 3, 1, 2):
        model.begin(row("repaint", 2.0, seed))
    assert len(encoded) == 4
    model._recordings = RecordingEncoder(model.pipeline, max_bytes=1)
    model.begin(row("repaint", 2.0, 1, reference=True))


@pytest.mark.slow
def test_the_reference_gain_is_how_far_a_timbre_is_from_that_of_silence(model: AceStep) -> None:
    each = row("text", seed=1, reference=True)
    silent = model.pipeline.condition_encoder.silent_timbre
    none, plain, twice = (
        run_to_end(RecordingEncoder(model.pipeline, gain).encode(each)).timbre for gain in (0.0, 1.0, 2.0)
    )
    assert none is not None and plain is not None and twice is not None
    assert torch.equal(none, silent) and not torch.allclose(plain, silent)
    assert torch.allclose(twice - silent, 2 * (plain - silent), atol=1e-5)


@pytest.mark.slow
def test_a_reference_is_followed(model: AceStep) -> None:
    one, again, other = (row("text", seed=1, reference=True) for _ in range(3))
    other = replace(other, reference=recording(12.0, 7))
    silent = replace(one, reference=Recording(np.zeros((2, 48_000), np.float32), "silent"))
    first, second, third, fourth, none = latents(model, [one, again, other, silent, row("text", seed=1)])
    assert torch.equal(first, second) and torch.equal(fourth, none)
    assert not torch.allclose(first, third, atol=1e-3) and not torch.allclose(first, none, atol=1e-3)


@pytest.mark.parametrize("seconds", [0.5, 10, 29, 30, 31, 100])
def test_the_excerpt_has_front_middle_and_back(seconds: float) -> None:
    rate = 100
    samples = np.arange(round(seconds * rate), dtype=np.float32)[None].repeat(2, 0)
    result = excerpt(samples, rate)
    assert result.shape == (2, 30 * rate)
    if seconds >= 30:
        third = samples.shape[1] // 3
        assert [result[0, at] for at in (0, 1000, 2999)] == [0, third, samples.shape[1] - 1]
