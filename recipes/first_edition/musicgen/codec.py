"""Train the codec: EnCodec and its codebooks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from transformers import EncodecModel

from models.base import run_to_end
from models.musicgen import codec as coding
from models.musicgen.model import MusicGen

from ..codec_training import CodecTraining
from ..losses import codec_loss
from ..precision import autocast
from .architecture import HOP, build_codec
from .levels import LEVELS, unit_levels
from .quantiser import Quantiser
from .transform import start_as_transform

CUT = 25 * HOP
"""Samples of a training cut, one second."""
RATE = 2e-4
COMMITMENT_WEIGHT = 0.5
"""Weight of the distance between values and their codes (the commitment loss)."""
LEVEL_WEIGHT = 4.0


class Codec(nn.Module):
    """EnCodec with a trainable quantiser in place of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.encodec = build_codec()
        self.quantiser = Quantiser(self.encodec.config.hidden_size)

    @torch.no_grad()
    def start(self, audio: torch.Tensor) -> None:
        """Initialise as a transform coder, with the k-means of audio `[B, 1, T]` as codes."""
        start_as_transform(self.encodec, audio)
        self.quantiser.start(torch.cat([self.encodec.encoder(part) for part in audio.split(64)]))

    @torch.no_grad()
    def pack(self) -> EncodecModel:
        """The model as transformers loads it."""
        self.quantiser.export(self.encodec)
        return self.encodec


def train_codec(runs: Path, steps: int, batch: int, device: str, compile_it: bool, stage: str = "codec") -> None:
    """Train to `steps` steps in total, and write the codec to `runs/codec`; resumes from `runs`."""
    if stage != "codec":
        raise ValueError(f"MusicGen's codec has no stage {stage}")
    torch.manual_seed(0)
    codec = Codec()
    training = CodecTraining(
        codec,
        runs / "codec.pt",
        RATE,
        steps,
        write=lambda: codec.pack().save_pretrained(runs / "codec"),
        reconstruct=lambda audio: reconstruct(codec.pack(), audio),
    )
    if not training.first:
        codec.start(torch.from_numpy(training.pool.cuts(np.random.default_rng(0), 512, 50 * HOP)))
        training.report(0)
    codec.to(device).train()
    training.begin(list(codec.parameters()))
    for step in range(training.first, steps):
        audio = training.cuts(step, batch, CUT).to(device)
        with autocast(device):
            values = codec.encodec.encoder(audio).float()
        levels = F.mse_loss(values[:, :LEVELS], unit_levels(audio[:, 0]))
        quantised, distance = codec.quantiser(values)
        with autocast(device):
            estimate = codec.encodec.decoder(quantised)
        loss = codec_loss(estimate.float()[:, 0], audio[:, 0]) + COMMITMENT_WEIGHT * distance + LEVEL_WEIGHT * levels
        training.step(step, loss, distance=distance, levels=levels)


def load_codec(runs: Path) -> EncodecModel:
    """The codec that `train_codec` wrote."""
    return EncodecModel.from_pretrained(runs / "codec").eval()  # nosec B615 - a folder, never the hub


@torch.no_grad()
def reconstruct(codec: EncodecModel, audio: np.ndarray) -> np.ndarray:
    """Through codes and back: mono `[B, T]` to the same shape, T a multiple of `HOP`."""
    return np.concatenate([run_to_end(coding.decode(codec, coding.encode(codec, song[None]), 1)) for song in audio])


def through(model: MusicGen, audio: np.ndarray) -> np.ndarray:
    """Mono `[samples]` through a loaded checkpoint's codec and back."""
    padded = np.pad(audio, (0, -len(audio) % HOP))
    return reconstruct(model.codec, padded[None])[0, : len(audio)]
