"""Train the encoder alone: from audio to the defined latents, which editing starts from."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from recipes.first_edition.averaging import WeightAverage
from recipes.first_edition.channels_last import use_channels_last
from recipes.first_edition.precision import autocast
from recipes.first_edition.snake import use_training_snake
from recipes.first_edition.state import Checkpoints, learning_rate
from recipes.music.corpus import Shards

from .analysis import load_analysis
from .architecture import LATENT, NOISE, build_codec
from .cuts import HELD_SHARDS, Cuts
from .head import before_head, fit_head
from .muon import codec_optimizers, descend
from .start import hold_noise, start_as_analysis

EDGE = 5
"""Latent frames at both ends of a cut that the loss leaves out: there the encoder lacks what comes before or after."""
RATE = 0.4
"""Share of the codec's peak learning rates."""
AVERAGE_DECAY = 0.998
REPORT_EVERY = 20


class EncoderTraining:
    """A training run of the encoder, saved in `runs/encoder.pt`.

    Args:
        runs: holds `music/` and `latents.safetensors`.
        steps: in all; the learning rate falls towards the end.
    """

    def __init__(self, runs: Path, steps: int, batch: int) -> None:
        torch.manual_seed(0)
        self.steps, self.batch = steps, batch
        self.codec = build_codec()
        start_as_analysis(self.codec)
        hold_noise(self.codec)
        self.encoder = self.codec.encoder
        use_training_snake(self.encoder)
        use_channels_last(self.encoder)
        shards = Shards(runs / "music").paths()
        analysis = load_analysis(runs / "latents.safetensors")
        self.cuts, self.held = (Cuts(part, analysis) for part in (shards[:-HELD_SHARDS], shards[-HELD_SHARDS:]))
        self.optimizers = codec_optimizers(self.encoder)
        self.checkpoints = Checkpoints(runs / "encoder.pt")
        saved = self.checkpoints.load()
        self.first = 0
        if saved is None:
            fit_head(self.codec, self.cuts, EDGE)
        self.average = WeightAverage(self.encoder, AVERAGE_DECAY)
        if saved:
            self.encoder.load_state_dict(saved["encoder"])
            for optimizer, state in zip(self.optimizers, saved["optimizers"], strict=True):
                optimizer.load_state_dict(state)
            self.first = saved["step"]
            self.average.load_state_dict(saved["average"], self.first)

    def run(self) -> None:
        mean, began = 0.0, time.process_time()
        for step in range(self.first, self.steps):
            loss, _ = self._loss(self.cuts, step)
            loss.backward()
            descend(self.optimizers, self.encoder, learning_rate(step, self.steps, RATE))
            self.average.update()
            mean += loss.item() / REPORT_EVERY
            if (step + 1) % REPORT_EVERY == 0:
                spent = (time.process_time() - began) / (step + 1 - self.first)
                print(json.dumps({"step": step + 1, "error": round(mean, 4), "cpu": round(spent, 2)}), flush=True)
                mean = 0.0
            if self.checkpoints.due() or step + 1 == self.steps:
                self._save(step + 1)

    def _loss(self, cuts: Cuts, step: int) -> tuple[Tensor, Tensor]:
        """Mean squared error, and by channel `[LATENT - NOISE]` relative to the channel's variance."""
        audio, latents = cuts.draw(self.batch, np.random.default_rng([2, step]))
        with autocast("cpu"):
            estimate = self.encoder.conv2(before_head(self.codec, audio[:, None]))
        error = (estimate.float()[:, : LATENT - NOISE] - latents)[..., EDGE:-EDGE].square()
        return error.mean(), error.mean((0, 2)) / latents.var((0, 2))

    def _save(self, step: int) -> None:
        state = {"encoder": self.encoder.state_dict(), "average": self.average.state_dict(), "step": step}
        self.checkpoints.save(state | {"optimizers": [optimizer.state_dict() for optimizer in self.optimizers]})
        with torch.no_grad():
            error = torch.stack([self._loss(self.held, number)[1] for number in range(4)]).mean(0)
        explained = [round(1 - value, 2) for value in error.tolist()]
        print(json.dumps({"step": step, "held": explained}), flush=True)
