"""The decoder's training on other music and on the transformer's latents, and its loss against standing lines."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderOobleck
from transformers import MusicgenForConditionalGeneration

from recipes.first_edition.__main__ import STARTERS
from recipes.first_edition.ace_step import redrawn
from recipes.first_edition.ace_step import robust_decoder as ace_step
from recipes.first_edition.ace_step.architecture import HOP, LATENT
from recipes.first_edition.ace_step.model import last_codec
from recipes.first_edition.ace_step.standing_lines import standing_lines
from recipes.first_edition.data import SAMPLE_RATE
from recipes.first_edition.musicgen import robust_decoder as musicgen
from recipes.first_edition.musicgen.codec import load_codec

SAMPLES = 2 * SAMPLE_RATE


def noise(seed: int, count: int = 4) -> torch.Tensor:
    return 0.1 * torch.randn(count, SAMPLES, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("hz", [3000, 3900, 10_950])
def test_a_tone_of_the_frame_rate_is_a_line_even_30_db_below_the_music(hz: float) -> None:
    tone = 4e-3 * (2 * torch.pi * hz * torch.arange(SAMPLES) / SAMPLE_RATE).sin()
    made, without = noise(1).requires_grad_(), standing_lines(noise(1), noise(2))
    with_line = standing_lines(made + tone, noise(2))
    assert with_line > without + 0.2
    (gradient,) = torch.autograd.grad(with_line, made)
    assert (gradient * tone).sum() > 0, "less of the tone is better"


def test_a_tone_between_the_multiples_is_a_line_too() -> None:
    tone = 0.02 * (2 * torch.pi * 3509 * torch.arange(SAMPLES) / SAMPLE_RATE).sin()
    assert standing_lines(noise(1) + tone, noise(2)) > standing_lines(noise(1), noise(2)) + 0.2


def test_a_tone_of_the_music_counts_less() -> None:
    tone = 0.05 * (2 * torch.pi * 3900 * torch.arange(SAMPLES) / SAMPLE_RATE).sin()
    assert standing_lines(noise(1) + tone, noise(2) + tone) < standing_lines(noise(1) + tone, noise(2)) - 0.5


@pytest.fixture
def music(tmp_path: Path) -> Path:
    folder = tmp_path / "music"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for shard in range(4):
        clips = (3000 * rng.standard_normal((2, 12 * SAMPLE_RATE))).astype(np.int16)
        np.save(folder / f"{shard:05d}.npy", clips)
        (folder / f"{shard:05d}.json").write_text(json.dumps([{}, {}]))
    return folder


@pytest.mark.long
def test_ace_steps_decoder_alone_is_trained_and_resumes(
    tmp_path: Path, music: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = STARTERS / "ace_step"
    monkeypatch.setattr(ace_step, "REDRAWN_CLIPS", 2)
    for steps in (1, 2):
        ace_step.train_robust_decoder(tmp_path, shipped, music, steps)
    drawn = redrawn.load_redrawn(tmp_path, shipped, music, 2)
    assert [clip.latents.shape for clip in drawn] == [(LATENT, 1800)] * 2
    assert [len(clip.audio) for clip in drawn] == [1800 * HOP] * 2
    before, after = (
        each.state_dict() for each in (AutoencoderOobleck.from_pretrained(shipped / "vae"), last_codec(tmp_path))
    )
    changed = {name for name in before if not torch.equal(before[name].float(), after[name])}
    assert changed and all(name.startswith("decoder.") for name in changed)


@pytest.mark.long
def test_musicgens_decoder_alone_is_trained_and_resumes(tmp_path: Path, music: Path) -> None:
    shipped = STARTERS / "musicgen"
    for steps in (1, 2):
        musicgen.train_robust_decoder(tmp_path, shipped, music, steps)
    before = MusicgenForConditionalGeneration.from_pretrained(shipped, dtype=torch.float32).audio_encoder.state_dict()
    after = load_codec(tmp_path).state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed and all(name.startswith("decoder.") for name in changed)
