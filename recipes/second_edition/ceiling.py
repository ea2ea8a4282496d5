"""What a codec preserves of real music, for each composer: pulse, tone persistence, similarity and whistles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderOobleck

from preprocessing.tagger.embedding import embed
from training.evaluation.audio_measures import persistence, pulse, whistle
from training.evaluation.energy_distance import energy_distance

from .codec.analysis import LEVELS, Analysis, load_analysis
from .codec.architecture import HOP, LATENT, NOISE, RATE
from .codec.decoder_training import load_decoder
from .codec.griffin_lim import invert
from .real import Composer, load_composers

Reconstruct = Callable[[np.ndarray], np.ndarray]
"""Mono audio `[samples]`, a multiple of `HOP`, to its reconstruction."""


@dataclass(frozen=True)
class Preserved:
    """Figures of how well a codec preserves a composer's music.

    Attributes:
        pulse, persistence: mean over the excerpts, divided by the real ones'.
        own: energy distance of the embeddings to the composer's held music, less the real excerpts' own.
        line: highest standing line in dB above the real excerpt's at worst.
    """

    pulse: float
    persistence: float
    own: float
    line: float


def measure(composer: Composer, reconstruct: Reconstruct) -> Preserved:
    given = [audio[: len(audio) // HOP * HOP] for audio in composer.given]
    made = [reconstruct(audio) for audio in given]

    def share(figure: Callable[[np.ndarray, int], float]) -> float:
        return float(np.mean([figure(x, RATE) for x in made]) / np.mean([figure(x, RATE) for x in given]))

    real, copy, held = (np.concatenate([embed(x, RATE) for x in part]) for part in (given, made, composer.held))
    own = energy_distance(copy, held) - energy_distance(real, held)
    lines = [whistle(y, RATE) - whistle(x, RATE) for x, y in zip(given, made, strict=True)]
    return Preserved(share(pulse), share(persistence), own, max(lines))


def through_griffin_lim(analysis: Analysis) -> Reconstruct:
    """Through the latents, and back by Griffin-Lim."""

    def reconstruct(audio: np.ndarray) -> np.ndarray:
        latents = analysis.latents(torch.from_numpy(audio)[None])
        return invert(LEVELS, analysis.levels(latents)[0]).numpy()

    return reconstruct


def through_decoder(analysis: Analysis, codec: AutoencoderOobleck) -> Reconstruct:
    """Through the latents, and back by the decoder with noise."""

    @torch.inference_mode()
    def reconstruct(audio: np.ndarray) -> np.ndarray:
        latents = analysis.latents(torch.from_numpy(audio)[None])
        noise = torch.randn(1, NOISE, latents.shape[2], generator=torch.Generator().manual_seed(0))
        return codec.decode(torch.cat([latents, noise], 1)).sample[0, 0].numpy()

    return reconstruct


@torch.inference_mode()
def line_of_silence(codec: AutoencoderOobleck, seconds: float = 6.0) -> float:
    """Standing line of zero latents with noise, in dB."""
    latents = torch.zeros(1, LATENT, round(seconds * RATE / HOP))
    latents[:, LATENT - NOISE :] = torch.randn(1, NOISE, latents.shape[2], generator=torch.Generator().manual_seed(0))
    return whistle(codec.decode(latents).sample[0, 0].numpy(), RATE)


def print_ceiling(runs: Path, real: Path, excerpts: int) -> None:
    analysis = load_analysis(runs / "latents.safetensors")
    ways = {"latents + Griffin-Lim": through_griffin_lim(analysis)}
    if (runs / "decoder.pt").exists():
        codec = load_decoder(runs)
        ways["decoder"] = through_decoder(analysis, codec)
        print(f"standing line of zero latents: {line_of_silence(codec):.1f} dB", flush=True)
    print("| composer | way | pulse / real | persistence / real | distance to own, above real | line above real, dB |")
    print("|---|---|---|---|---|---|", flush=True)
    for composer in load_composers(real, RATE, excerpts):
        for name, way in ways.items():
            kept = measure(composer, way)
            figures = f"{kept.pulse:.2f} | {kept.persistence:.2f} | {kept.own:+.2f} | {kept.line:+.1f}"
            print(f"| {composer.name} | {name} | {figures} |", flush=True)
