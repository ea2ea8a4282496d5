"""How much of music the transformer predicts in one step, as R², apart for loudness and for all else.

And how far it follows a prompt's tempo: the likeness of the loudness that it predicts from hardly more than noise with
that of the songs, by their prompts and by another song's.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import torch

from recipes.first_edition.ace_step.model import Starter, levels_from_noise
from recipes.first_edition.ace_step.prompts import format_prompt, song_prompt
from recipes.first_edition.clips import LOOP_SECONDS, VALIDATION_CLIPS, Clip, Library
from recipes.first_edition.precision import autocast

from ..codec.analysis import load_analysis
from ..codec.architecture import LATENT, NOISE, RATE
from ..real import load_composers
from .clips import SHAPE, CorpusClip, analyse, with_noise

SECONDS = 10.0
TIMES = (0.8, 0.5)
LOUDNESS = 0.1
"""Root mean square that real music is brought to, about the corpus's."""


class Probe:
    """Music that nothing is trained on: songs, clips of the corpus, and real music without a prompt.

    Args:
        library: whose first clips are the validation songs, with or without noise.
        held: clips of the corpus.
        real: where packages with real music are unpacked; None for none.
    """

    def __init__(self, runs: Path, library: Library[Clip], held: list[CorpusClip], real: Path | None) -> None:
        rng, length = np.random.default_rng(0), SHAPE.frames(SECONDS)
        songs = [clip for clip in library.clips[:VALIDATION_CLIPS] if clip.seconds == LOOP_SECONDS]
        self.sets = {
            "songs": ([song_prompt(clip.song, SECONDS, rng) for clip in songs], [clip.frames for clip in songs]),
            "corpus": ([clip.prompt(SECONDS, rng) for clip in held], [clip.frames for clip in held]),
        }
        if real:
            analysis = load_analysis(runs / "latents.safetensors")
            for composer in load_composers(real, RATE, 2):
                audio = [part * LOUDNESS / max(float(np.sqrt(np.mean(part**2))), 1e-4) for part in composer.given]
                bare = format_prompt("", SECONDS)[0]
                self.sets[composer.name] = ([bare] * len(audio), [analyse(analysis, part) for part in audio])
        self.latents = {
            name: with_noise(torch.stack([part[:length, : LATENT - NOISE] for part in rows]).float())
            for name, (_, rows) in self.sets.items()
        }

    @torch.no_grad()
    def __call__(self, starter: Starter) -> dict[str, dict[str, list[float]]]:
        """For each time and set, the mean R² of loudness and of the components; "rhythm" by each prompt."""
        found: dict[str, dict[str, list[float]]] = defaultdict(dict)
        texts, songs = self.sets["songs"][0], self.latents["songs"]
        noise = torch.randn(songs.shape, generator=torch.Generator().manual_seed(0))
        with autocast("cpu"):
            likeness = [levels_from_noise(starter, songs, noise, words) for words in (texts, texts[7:] + texts[:7])]
        found["rhythm"]["own prompt, another's"] = [round(value, 2) for value in likeness]
        lyrics = format_prompt("", SECONDS)[1]
        for name, latents in self.latents.items():
            noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(0))
            clock = starter.condition_encoder.silence_latent[:, : latents.shape[1]]
            context = torch.cat([clock, torch.ones_like(clock)], -1).expand(len(latents), -1, -1)
            with autocast("cpu"):
                conditions = starter.conditions(self.sets[name][0], lyrics)
                for time in TIMES:
                    times = torch.full((len(latents),), time)
                    squared = starter.squared_error(latents, noise, times, conditions, context)
                    error = time**2 * squared.mean((0, 1))
                    explained = 1 - error / latents.flatten(0, 1).var(0)
                    parts = (explained[: SHAPE.levels], explained[SHAPE.levels : SHAPE.channels - SHAPE.noise])
                    found[f"{time}"][name] = [round(float(part.mean()), 2) for part in parts]
        return dict(found)
