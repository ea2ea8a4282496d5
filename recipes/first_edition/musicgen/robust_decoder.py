"""Train EnCodec's decoder on other music than the synthesiser's, without standing lines; codes stay as they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from transformers import MusicgenForConditionalGeneration

from ..channels_last import use_channels_last
from ..codec_training import CodecTraining
from ..data import MusicCuts
from ..losses import codec_loss
from ..spectral_peaks import spectral_peaks
from .architecture import HOP
from .codec import reconstruct

FRAMES = 26
"""Of a cut, a second."""
EDGE = 2
"""Frames at both ends of a cut that have no loss, since the decoder's input ends there."""
CUTS = 3
"""In a step, of songs and of other music each."""
RATE = 4e-4
PEAKS_WEIGHT = 0.03


def train_robust_decoder(runs: Path, checkpoint: Path, music: Path, steps: int) -> None:
    """Train to `steps` steps in total, from the checkpoint's codec, and write it to `runs/codec`; resumes.

    Args:
        music: the folder of clips that `python -m recipes.music` wrote.
    """
    model = MusicgenForConditionalGeneration.from_pretrained(checkpoint, dtype=torch.float32)  # nosec B615 - a folder
    codec = model.audio_encoder.requires_grad_(False)
    use_channels_last(codec)
    training = CodecTraining(
        codec,
        runs / "robust_decoder.pt",
        RATE,
        steps,
        write=lambda: codec.save_pretrained(runs / "codec"),
        reconstruct=lambda audio: reconstruct(codec, audio),
    )
    training.begin(list(codec.decoder.requires_grad_(True).parameters()))
    cuts = MusicCuts(music)
    (bandwidth,) = codec.config.target_bandwidths
    for step in range(training.first, steps):
        rng = np.random.default_rng([step, 6])
        songs = training.cuts(step, CUTS, FRAMES * HOP)
        audio = torch.cat([songs, torch.from_numpy(cuts.draw(rng, CUTS, FRAMES * HOP))])
        with torch.no_grad():
            codes = codec.quantizer.encode(codec.encoder(audio), bandwidth)
            values = codec.quantizer.decode(codes)
        estimate, wanted = (x[:, 0, EDGE * HOP : -EDGE * HOP] for x in (codec.decoder(values), audio))
        peaks = spectral_peaks(estimate, wanted)
        training.step(step, codec_loss(estimate, wanted) + PEAKS_WEIGHT * peaks, peaks=peaks)
