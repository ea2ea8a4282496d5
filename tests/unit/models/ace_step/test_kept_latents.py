"""An edit starts from the latents of its source, if they were kept, rather than from its samples."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from models.ace_step import AceStep
from models.base import Edit, Latents, Recording, Row, run_to_end
from models.loudness import PEAK
from tests.unit.models.ace_step.support import audio, latents, recording, row

RATE = 48_000


def made(model: AceStep, each: Row) -> tuple[NDArray[np.float32], Latents]:
    """A row's samples and latents."""
    kept: list[Latents] = []
    samples = audio(model, replace(each, keep=kept.append))
    return samples, kept[0]


def source_of(samples: NDArray[np.float32], kept: Latents, before: float = 0, after: float = 0) -> Recording:
    silence = ((0, 0), (round(before * RATE), round(after * RATE)))
    return Recording(np.pad(samples, silence), f"{before} {after} {samples.sum()}", kept)


def decoded(model: AceStep, kept: Latents) -> NDArray[np.float32]:
    with torch.inference_mode():
        result = model.pipeline.vae.decode(torch.from_numpy(kept.values.T[None])).sample[0]
    return result.numpy() * np.float32(kept.gain)


def test_a_track_is_what_its_latents_decode_to(model: AceStep) -> None:
    samples, kept = made(model, row("text", 2.0))
    assert kept.values.shape == (50, 8) and kept.values.dtype == np.float32
    assert np.abs(decoded(model, kept)[:, : 2 * RATE] - samples).max() < 1e-5
    assert np.abs(samples).max() == pytest.approx(PEAK, abs=1e-4)


@pytest.mark.parametrize(
    "edit",
    [
        Edit("repaint", Recording(np.zeros((2, 1), np.float32), ""), 0.5, 1.5),
        Edit("cover", Recording(np.zeros((2, 1), np.float32), ""), 0, 2.0),
        Edit("cover", Recording(np.zeros((2, 1), np.float32), ""), 0, 2.0, noise_strength=0.5),
    ],
    ids=["repaint", "cover", "cover from its source"],
)
def test_nothing_is_encoded(model: AceStep, encoded: list[int], edit: Edit) -> None:
    samples, kept = made(model, row("text", 2.0))
    each = replace(row("text", 2.0, 2), edit=replace(edit, source=source_of(samples, kept)))
    assert model.plan(each).encoded_seconds == (0 if edit.task == "repaint" else 2.0)
    source = run_to_end(model._recordings.encode(each)).source
    assert source is not None and np.array_equal(source[0].numpy(), kept.values)
    audio(model, each)
    assert encoded == []


def test_the_latents_of_an_edit_are_the_sources_outside_its_window(model: AceStep) -> None:
    samples, kept = made(model, row("text", 3.0))
    each = replace(row("text", 3.0, 2), edit=Edit("repaint", source_of(samples, kept), 1.0, 2.0))
    result, after = made(model, each)
    assert after.gain == kept.gain
    assert np.array_equal(after.values[:25], kept.values[:25]) and np.array_equal(after.values[50:], kept.values[50:])
    assert not np.array_equal(after.values[25:50], kept.values[25:50])
    assert np.array_equal(result[:, :RATE], samples[:, :RATE]) and np.array_equal(
        result[:, 2 * RATE :], samples[:, 2 * RATE :]
    )


def test_the_window_has_the_level_of_the_track(model: AceStep) -> None:
    samples, kept = made(model, row("text", 2.0))
    windows = []
    for gain in (0.2, 0.1):
        source = source_of(samples, replace(kept, gain=gain))
        result = audio(model, replace(row("text", 2.0, 2), edit=Edit("repaint", source, 1.0, 1.5)))
        windows.append(result[:, RATE : round(1.5 * RATE)])
    assert windows[1].any() and np.abs(windows[0] - 2 * windows[1]).max() < 1e-6


@pytest.mark.parametrize(("before", "after"), [(0.0, 1.0), (0.8, 0.0), (0.4, 0.6)])
def test_an_extended_source_has_its_latents_in_their_place(
    model: AceStep, encoded: list[int], before: float, after: float
) -> None:
    samples, kept = made(model, row("text", 2.0))
    total = before + 2.0 + after
    start, end = (before + 2.0, total) if after else (0.0, before)
    edit = Edit("extend", source_of(samples, kept, before, after), start, end, before=before)
    result, longer = made(model, replace(row("text", total), edit=edit))
    first = round(before * 25)
    assert encoded == [] and np.array_equal(longer.values[first : first + 50], kept.values)
    inside = slice(round(before * RATE), round((before + 2.0) * RATE))
    assert np.array_equal(result[:, inside], samples)


def test_a_source_between_two_frames_is_encoded(model: AceStep, encoded: list[int]) -> None:
    samples, kept = made(model, row("text", 2.0))
    edit = Edit("extend", source_of(samples, kept, 0.05), 0.0, 0.05, before=0.05)
    _, longer = made(model, replace(row("text", 2.05), edit=edit))
    assert encoded and longer.gain == 1


@pytest.mark.parametrize(
    "values", [np.zeros((50, 7)), np.zeros((51, 8)), np.full((50, 8), np.nan)], ids=["channels", "length", "not finite"]
)
def test_latents_that_do_not_fit_are_not_used(model: AceStep, encoded: list[int], values: NDArray[np.float64]) -> None:
    source = replace(recording(2.0), latents=Latents(values.astype(np.float32), 0.5))
    each = replace(row("text", 2.0), edit=Edit("repaint", source, 0.5, 1.5))
    plain = replace(each, edit=Edit("repaint", recording(2.0), 0.5, 1.5))
    with_them, without = latents(model, [each, plain])
    assert encoded and torch.equal(with_them, without)


def test_half_precision_keeps_its_latents_exactly(checkpoint: object) -> None:
    half = AceStep.load(checkpoint, torch.device("cpu"), torch.bfloat16)  # type: ignore[arg-type]
    _, kept = made(half, row("text", 1.2))
    values = torch.from_numpy(kept.values)
    assert torch.equal(values.bfloat16().float(), values)
