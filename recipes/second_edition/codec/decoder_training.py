"""Train the decoder alone: from defined latents and noise to audio."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderOobleck
from torch import Tensor

from recipes.first_edition.averaging import WeightAverage
from recipes.first_edition.channels_last import use_channels_last
from recipes.first_edition.precision import autocast
from recipes.first_edition.snake import use_training_snake
from recipes.first_edition.state import Checkpoints, learning_rate
from recipes.music.corpus import Shards

from .analysis import LEVELS, load_analysis
from .architecture import HOP, NOISE, build_codec
from .cuts import FRAMES, HELD_SHARDS, Cuts
from .latents import band_weights
from .losses import energy_distance
from .muon import codec_optimizers, descend
from .start import start_as_synthesis

EDGE = 3 * HOP
"""Samples at both ends of a cut that the loss leaves out: there the decoder lacks what comes before or after."""
LEVELS_WEIGHT = 0.3
"""Weight of the difference of band levels, in nats: what the latents say, without the chance of single bins."""
LATENT_NOISE = 0.15
"""Largest deviation of noise added to the latents, since those of a model are not exact."""
AVERAGE_DECAY = 0.998
REPORT_EVERY = 20


class DecoderTraining:
    """A training run of the decoder, saved in `runs/decoder.pt`.

    Args:
        runs: holds `music/` and `latents.safetensors`.
        steps: in all; the learning rate falls towards the end.
    """

    def __init__(self, runs: Path, steps: int, batch: int) -> None:
        torch.manual_seed(0)
        self.runs, self.steps, self.batch = runs, steps, batch
        self.codec = build_codec()
        start_as_synthesis(self.codec)
        self.codec.encoder.requires_grad_(False)
        self.decoder = self.codec.decoder
        use_training_snake(self.decoder)
        use_channels_last(self.decoder)
        shards = Shards(runs / "music").paths()
        analysis = load_analysis(runs / "latents.safetensors")
        self.cuts = Cuts(shards[:-HELD_SHARDS], analysis)
        self.held = Cuts(shards[-HELD_SHARDS:], analysis)
        self.optimizers = codec_optimizers(self.decoder)
        self.checkpoints = Checkpoints(runs / "decoder.pt")
        saved = self.checkpoints.load()
        self.first = 0
        if saved:
            self.decoder.load_state_dict(saved["decoder"])
            for optimizer, state in zip(self.optimizers, saved["optimizers"], strict=True):
                optimizer.load_state_dict(state)
            self.first = saved["step"]
        self.average = WeightAverage(self.decoder, AVERAGE_DECAY)
        if saved:
            self.average.load_state_dict(saved["average"], self.first)

    def run(self) -> None:
        mean, apart, began = 0.0, 0.0, time.process_time()
        for step in range(self.first, self.steps):
            loss, near, levels = self._loss(self.cuts, step)
            loss.backward()
            descend(self.optimizers, self.decoder, learning_rate(step, self.steps, 1.0))
            self.average.update()
            mean += near.item() / REPORT_EVERY
            apart += levels.item() / REPORT_EVERY
            if (step + 1) % REPORT_EVERY == 0:
                spent = (time.process_time() - began) / (step + 1 - self.first)
                print(
                    json.dumps(
                        {
                            "step": step + 1,
                            "distance": round(mean, 4),
                            "levels": round(apart, 3),
                            "cpu": round(spent, 2),
                        }
                    ),
                    flush=True,
                )
                mean = apart = 0.0
            if self.checkpoints.due() or step + 1 == self.steps:
                self._save(step + 1)

    def _loss(self, cuts: Cuts, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """The loss, and for reports the plain distance to the sound and the difference of the levels in nats."""
        torch.manual_seed(step)
        audio, latents = cuts.draw(self.batch, np.random.default_rng([1, step]))
        latents = latents + LATENT_NOISE * torch.rand(len(latents), 1, 1) * torch.randn_like(latents)
        twice = torch.cat([latents, latents])
        noise = torch.randn(len(twice), NOISE, FRAMES)
        with autocast("cpu"):
            estimate = self.decoder(torch.cat([twice, noise], 1))
        first, second = estimate.float()[:, 0, EDGE:-EDGE].chunk(2)
        audio = audio[:, EDGE:-EDGE]
        loss, near = energy_distance(first, second, audio)
        wanted, weights = LEVELS(audio), band_weights(LEVELS.centres)[:, None]
        both = 0.5 * ((LEVELS(first) - wanted).abs() + (LEVELS(second) - wanted).abs())
        apart = (weights * both).mean()
        return loss + LEVELS_WEIGHT * apart, near, apart

    def _save(self, step: int) -> None:
        state = {"decoder": self.decoder.state_dict(), "average": self.average.state_dict(), "step": step}
        self.checkpoints.save(state | {"optimizers": [optimizer.state_dict() for optimizer in self.optimizers]})
        with torch.no_grad():
            held = torch.tensor([self._loss(self.held, number) for number in range(8)]).mean(0)
        print(json.dumps({"step": step, "held": [round(value, 4) for value in held.tolist()]}), flush=True)


def load_decoder(runs: Path) -> AutoencoderOobleck:
    """The codec whose decoder has the averaged weights of the last checkpoint.

    Raises:
        FileNotFoundError: there is no checkpoint.
    """
    saved = Checkpoints(runs / "decoder.pt").load()
    if saved is None:
        raise FileNotFoundError(f"{runs / 'decoder.pt'}: train the decoder first")
    codec = build_codec()
    codec.decoder.load_state_dict(saved["average"])
    return codec.eval()
