"""Train the codec: EnCodec with its codebooks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from transformers import EncodecModel

from models.musicgen import audio as codes
from models.musicgen.model import MusicGen

from ..data import TRAINING, Pool, held_back
from ..losses import codec_loss
from ..measures import reconstruction_table
from ..state import Checkpoints, learning_rate
from .architecture import HOP, build_codec
from .levels import LEVELS, unit_levels
from .quantiser import Quantiser
from .transform import start_as_transform

CUT = 25 * HOP
"""Samples of a training cut, one second."""
RENEW_EVERY = 3
RATE = 2e-4
NEARNESS_WEIGHT = 0.5
"""Of the distance between values and their codes, which draws the values to the codes."""
LEVEL_WEIGHT = 4.0


class Codec(nn.Module):
    """EnCodec with the quantiser that is learned in place of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.encodec = build_codec()
        self.quantiser = Quantiser(self.encodec.config.hidden_size)

    @torch.no_grad()
    def start(self, audio: torch.Tensor) -> None:
        """Begin as a transform coder, with the k-means of audio `[B, 1, T]` as codes."""
        start_as_transform(self.encodec, audio)
        self.quantiser.start(torch.cat([self.encodec.encoder(part) for part in audio.split(64)]))

    @torch.no_grad()
    def pack(self) -> EncodecModel:
        """The model as transformers loads it."""
        self.quantiser.give_to(self.encodec)
        return self.encodec


def train_codec(runs: Path, steps: int, batch: int, device: str, compile_it: bool, stage: str = "codec") -> None:
    """Train up to `steps` in all and write the codec to `runs/codec`; goes on from what is in `runs`."""
    if stage != "codec":
        raise ValueError(f"MusicGen's codec has no stage {stage}")
    torch.manual_seed(0)
    codec = Codec()
    checkpoints = Checkpoints(runs / "codec.pt")
    saved = checkpoints.load()
    pool = Pool(TRAINING, renewals=saved["step"] // RENEW_EVERY if saved else 0)
    if saved:
        codec.load_state_dict(saved["codec"])
    else:
        codec.start(torch.from_numpy(pool.cuts(np.random.default_rng(0), 512, 50 * HOP)))
        print(json.dumps({"step": 0, **reconstruction(codec.pack())}), flush=True)
    codec.to(device).train()
    parameters = list(codec.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, betas=(0.8, 0.98), weight_decay=1e-4, fused=True)
    if saved:
        optimizer.load_state_dict(saved["optimizer"])
    encoder, decoder = codec.encodec.encoder, codec.encodec.decoder
    mean_loss = 0.0
    for step in range(saved["step"] if saved else 0, steps):
        optimizer.param_groups[0]["lr"] = learning_rate(step, steps, RATE)
        rng = np.random.default_rng([TRAINING, step])
        torch.manual_seed(step)
        audio = torch.from_numpy(pool.cuts(rng, batch, CUT)).to(device)
        with torch.autocast(device, torch.bfloat16):
            values = encoder(audio).float()
        levels = F.mse_loss(values[:, :LEVELS], unit_levels(audio[:, 0]))
        quantised, distance = codec.quantiser(values)
        with torch.autocast(device, torch.bfloat16):
            estimate = decoder(quantised)
        loss = codec_loss(estimate.float()[:, 0], audio[:, 0]) + NEARNESS_WEIGHT * distance + LEVEL_WEIGHT * levels
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()

        if step % RENEW_EVERY == RENEW_EVERY - 1:
            pool.renew()
        mean_loss += loss.item() / 50
        if step % 50 == 49:
            parts = f"loss {mean_loss:.4f} distance {float(distance):.3f} levels {float(levels):.3f}"
            print(f"codec {step + 1}/{steps} {parts}", flush=True)
            mean_loss = 0.0
        if checkpoints.due() or step + 1 == steps:
            checkpoints.save({"codec": codec.state_dict(), "optimizer": optimizer.state_dict(), "step": step + 1})
            codec.pack().save_pretrained(runs / "codec")
            print(json.dumps({"step": step + 1, **reconstruction(codec.encodec)}), flush=True)


def load_codec(runs: Path) -> EncodecModel:
    """What `train_codec` wrote."""
    return EncodecModel.from_pretrained(runs / "codec").eval()  # nosec B615 - a folder, never the hub


@torch.no_grad()
def reconstruct(codec: EncodecModel, audio: np.ndarray) -> np.ndarray:
    """Through codes and back: mono `[B, T]` to the same shape, T a multiple of `HOP`."""
    return np.concatenate([codes.decode(codec, codes.encode(codec, song[None]), 1) for song in audio])


def through(model: MusicGen, audio: np.ndarray) -> np.ndarray:
    """Mono `[samples]` through a loaded checkpoint's codec and back."""
    padded = np.pad(audio, (0, -len(audio) % HOP))
    return reconstruct(model.codec, padded[None])[0, : len(audio)]


def reconstruction(codec: EncodecModel) -> dict[str, float]:
    """The reconstruction's figures on songs it was not trained on."""
    audio = held_back()
    return reconstruction_table(audio, reconstruct(codec, audio))
