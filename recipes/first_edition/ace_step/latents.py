"""Fix the scale of the latents, then encode songs as the model's training data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderOobleck

from ..clips import LOOP_SECONDS, write_clips
from ..data import TRAINING, audio_of, song_number
from ..precision import autocast
from .architecture import HOP, LATENT, SHAPE, encode_mean
from .levels import LEVELS
from .transform import set_weight, weight_of

LEVEL_DEVIATION = 1.5
SPREAD = 0.25
"""A component's deviation is its variance to this power: 0 would make all equal, 0.5 would leave them."""


@torch.no_grad()
def unit_codec(runs: Path) -> AutoencoderOobleck:
    """The trained codec with its latents brought to a fixed scale.

    The level channels come first. The others are rotated to their principal components, strongest first, since noise
    masks the weak ones first: the model decides on rhythm, then on tones, then on phases. The rotation is merged into
    the convolutions on both sides of the latents.
    """
    target = runs / "codec-unit"
    if target.exists():
        return AutoencoderOobleck.from_pretrained(target).eval()
    codec = AutoencoderOobleck.from_pretrained(runs / "codec").eval()
    songs = [song_number(TRAINING, 10_000 + number) for number in range(64)]
    audio = torch.from_numpy(np.stack([audio_of(song, 4.0) for song in songs]))[:, None]
    latents = torch.cat([encode_mean(codec, part) for part in audio.split(8)]).transpose(0, 1).flatten(1)
    mean = latents.mean(1)
    values, vectors = torch.linalg.eigh(torch.cov(latents[LEVELS:]))
    values, components = values.flip(0), vectors.T.flip(0)
    deviation = (values / values.mean()) ** SPREAD
    print("latent deviations", [round(float(value), 2) for value in deviation], flush=True)

    turn = torch.zeros(LATENT, LATENT)
    turn[:LEVELS, :LEVELS] = torch.diag(LEVEL_DEVIATION / latents[:LEVELS].std(1))
    turn[LEVELS:, LEVELS:] = (deviation / values.sqrt())[:, None] * components
    head, tail = codec.encoder.conv2, codec.decoder.conv1
    weight, bias = weight_of(head), head.bias.clone()
    weight[:LATENT] = torch.einsum("ij,jkt->ikt", turn, weight[:LATENT])
    bias[:LATENT] = turn @ (bias[:LATENT] - mean)
    # Sampling from the posterior adds little noise, the same to each channel.
    weight[LATENT:], bias[LATENT:] = 0, -4.0
    set_weight(head, weight, bias)
    weight, bias = weight_of(tail), tail.bias.clone()
    set_weight(tail, torch.einsum("ojt,ji->oit", weight, turn.inverse()), bias + weight.sum(2) @ mean)
    codec.save_pretrained(target)
    return codec


class SongEncoder:
    """Encodes songs of any length in windows of one length, as compiled code has a fixed length."""

    MARGIN = 48
    """Latent frames dropped on both sides of a window: the encoder's receptive field."""

    def __init__(self, codec: AutoencoderOobleck, device: str, compile_it: bool) -> None:
        self.encoder = torch.compile(codec.encoder, dynamic=False) if compile_it else codec.encoder
        self.device = device

    @torch.no_grad()
    def __call__(self, audio: np.ndarray) -> torch.Tensor:
        """Latent means `[T, LATENT]`, half precision, of mono audio `[samples]`."""
        count, window = -(-len(audio) // HOP), frames(LOOP_SECONDS)
        windows = -(-count // window)
        padded = np.pad(audio, (self.MARGIN * HOP, (windows * window + self.MARGIN) * HOP - len(audio)))
        parts = []
        for number in range(windows):
            first = number * window
            cut = padded[first * HOP : (first + window + 2 * self.MARGIN) * HOP]
            with autocast(self.device):
                mean = self.encoder(torch.from_numpy(cut)[None, None].to(self.device))[0, :LATENT]
            parts.append(mean[:, self.MARGIN : self.MARGIN + window])
        return torch.cat(parts, 1)[:, :count].T.half().cpu()


def encode_songs(runs: Path, first: int, songs: int, device: str, compile_it: bool) -> None:
    """Encode `songs` songs from number `first` into `runs/latents`."""
    encode = SongEncoder(unit_codec(runs).to(device).requires_grad_(False), device, compile_it)
    write_clips(runs / "latents", first, songs, encode)


def frames(seconds: float) -> int:
    return SHAPE.frames(seconds)
