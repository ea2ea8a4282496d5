"""Music through a codec alone, and what a checkpoint says of its codec's latents."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from models.ace_step import AceStep
from models.base import Model
from models.checkpoints import resolve
from models.musicgen import MusicGen
from models.tiny import ace_step as tiny_ace_step
from models.tiny import musicgen as tiny_musicgen
from recipes.first_edition.ace_step.levels import unit_levels
from recipes.synthesiser import render, sample_song

MODELS: dict[str, tuple[Any, Any]] = {
    "ace_step": (AceStep, tiny_ace_step.build),
    "musicgen": (MusicGen, tiny_musicgen.build),
}


def _load(backend: str) -> Any:
    model_class, build = MODELS[backend]
    return model_class.load(resolve("starter", backend, build), torch.device("cpu"), torch.float32)


def _song(model: Any, seconds: float = 3.0) -> np.ndarray:
    return render(sample_song(np.random.default_rng(1), "trap"), seconds, model.sample_rate, model.channels)


@pytest.mark.slow
@pytest.mark.parametrize("backend", MODELS)
def test_music_is_recognised_after_the_codec(backend: str) -> None:
    model = _load(backend)
    song = _song(model)
    copy = model.reconstruct(song)
    assert copy.shape == song.shape and copy.dtype == np.float32
    spectra = [np.log10(np.abs(np.fft.rfft(each[0].reshape(-1, 800))) + 1e-2).ravel() for each in (song, copy)]
    assert np.corrcoef(spectra)[0, 1] > 0.8
    assert not np.array_equal(copy, song)


def test_a_backend_without_a_codec_of_its_own_reconstructs_nothing() -> None:
    assert Model.reconstruct(None, np.zeros((1, 100), np.float32)) is None  # type: ignore[arg-type]


def test_the_starters_level_channels_follow_the_loudness_of_bands() -> None:
    model = _load("ace_step")
    song = torch.from_numpy(_song(model, 6.0))
    with torch.inference_mode():
        latents = model.pipeline.vae.encode(song[None]).latent_dist.mean[0]
    levels = unit_levels(song)[0]
    frames = min(latents.shape[1], levels.shape[1])
    following = np.corrcoef(torch.cat([latents[:, :frames], levels[:, :frames]]).numpy())[
        : len(latents), len(latents) :
    ]
    strongest = np.abs(following).max(1)
    count = model.traits.level_channels
    assert count == len(levels) and strongest[:count].min() > 0.25 > 0.15 > strongest[count:].max()
