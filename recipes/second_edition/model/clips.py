"""The training data of the transformer: latents of the corpus and of songs on the clock, with their prompts."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from itertools import chain, count, takewhile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models.base import Text
from recipes.first_edition.ace_step.architecture import LatentShape
from recipes.first_edition.ace_step.prompts import text_prompt
from recipes.first_edition.clips import write_clips
from recipes.first_edition.prompts import OMITTED, draw_omitted
from recipes.music.captions import clip_text
from recipes.music.corpus import Shards
from recipes.synthesiser import Song

from ..codec.analysis import LEVELS, Analysis, load_analysis
from ..codec.architecture import HOP, LATENT, NOISE
from ..codec.latents import LOUDNESS_HZ

SHAPE = LatentShape(LATENT, HOP, patch=6, levels=len(LOUDNESS_HZ) + 1, noise=NOISE)
"""8.3 tokens a second."""
SONGS, CLIPS = "songs", "clips"
"""Folders of latents: of the synthesiser's songs on the clock, and of the corpus."""
GAIN_DB, TILT_DB, BELL_DB = 4.0, 1.5, 5.0
"""Deviations of an equaliser's gain, its tilt an octave, and its bells."""
NATS_PER_DB = float(np.log(10)) / 10
"""Levels are logarithms of energies."""
HELD_SHARDS = 2
"""Shards of the corpus at its end that are not trained on."""


@dataclass
class CorpusClip:
    """A clip of the corpus.

    Attributes:
        record: as `ClipRenderer.clip` returns it.
        frames: latents without noise, half precision, `[T, LATENT - NOISE]`.
    """

    record: dict[str, Any]
    frames: torch.Tensor

    def text(self, rng: np.random.Generator) -> Text:
        """In random words, with random fields omitted."""
        omitted = draw_omitted(OMITTED, rng)
        return replace(clip_text(self.record, rng), **omitted)  # type: ignore[arg-type]

    def cut(self, length: int, rng: np.random.Generator) -> torch.Tensor:
        """`length` frames without noise from the beginning of a bar, as the transformer's clock counts bars.

        Without that, words and tempo of a clip would say nothing of where its beats are.
        """
        starts = (SHAPE.frames(n * self._bar_seconds) for n in count())
        fitting = list(takewhile(lambda start: start + length <= len(self.frames), starts))
        start = fitting[rng.integers(len(fitting))]
        return self.frames[start : start + length].float()

    @property
    def _bar_seconds(self) -> float:
        if "song" in self.record:
            return Song(**self.record["song"]).bar_seconds
        return self.record["bar"] * 60 / self.record["bpm"]

    def prompt(self, seconds: float, rng: np.random.Generator) -> str:
        """What the pipeline encodes for a text of the clip."""
        return text_prompt(self.text(rng), seconds)


def analyse(analysis: Analysis, audio: np.ndarray) -> torch.Tensor:
    """Latents without noise, half precision `[T, LATENT - NOISE]`, of mono audio `[samples]`."""
    padded = np.pad(audio, (0, -len(audio) % HOP))
    return analysis.latents(torch.from_numpy(padded)[None])[0].T.half().contiguous()


def encode_corpus(runs: Path) -> None:
    """Write the latents of every shard of `runs/music` to `runs/clips`; existing files are kept."""
    analysis, folder = load_analysis(runs / "latents.safetensors"), runs / CLIPS
    folder.mkdir(exist_ok=True)
    for number, (audio, records) in enumerate(Shards(runs / "music")):
        path = folder / f"{number:05d}.pt"
        if path.exists():
            continue
        rows = [
            {"record": json.dumps(record), "frames": analyse(analysis, np.asarray(clip, np.float32) / 32768)}
            for clip, record in zip(audio, records, strict=True)
        ]
        partial = path.with_suffix(".partial")
        torch.save(rows, partial)
        partial.rename(path)


def encode_songs(runs: Path, first: int, songs: int) -> None:
    """Write the latents of the synthesiser's songs to `runs/songs`; existing files are kept."""
    analysis = load_analysis(runs / "latents.safetensors")
    write_clips(runs / SONGS, first, songs, lambda audio: analyse(analysis, audio))


def load_corpus(runs: Path) -> tuple[list[CorpusClip], list[CorpusClip]]:
    """The clips to train on and the held-out ones; songs of the synthesiser are in `runs/songs` instead."""
    shards = []
    for path in sorted((runs / CLIPS).glob("*.pt")):
        rows = [CorpusClip(json.loads(row["record"]), row["frames"]) for row in torch.load(path, weights_only=True)]
        shards.append([clip for clip in rows if clip.record["kind"] != "synthesiser"])
    trained, held = (list(chain.from_iterable(part)) for part in (shards[:-HELD_SHARDS], shards[-HELD_SHARDS:]))
    return trained, held


class Equaliser:
    """Random curves of a few broad bells and a tilt, as latents; recordings differ by these more than arrangements do.

    Args:
        analysis: whose latents are to be changed.
    """

    def __init__(self, analysis: Analysis) -> None:
        self._whitening = analysis.whitening
        self._octaves = (LEVELS.centres / 1000).log2()

    def draw(self, rng: np.random.Generator) -> torch.Tensor:
        """What a curve adds to each frame of latents without noise, `[LATENT - NOISE]`."""
        gain, tilt = rng.normal(0, GAIN_DB), rng.normal(0, TILT_DB)
        curve = gain + tilt * self._octaves
        for _ in range(int(rng.integers(4))):
            centre, width = rng.uniform(-4.5, 3.5), rng.uniform(0.5, 2.5)
            curve = curve + rng.normal(0, BELL_DB) * torch.exp(-0.5 * ((self._octaves - centre) / width) ** 2)
        return self._whitening.change(curve * NATS_PER_DB)


def with_noise(latents: torch.Tensor) -> torch.Tensor:
    """Latents `[..., LATENT]` of those without noise `[..., LATENT - NOISE]`."""
    assert latents.shape[-1] == LATENT - NOISE
    return torch.cat([latents.float(), torch.randn(*latents.shape[:-1], NOISE)], -1)
