"""What a cover keeps of its source: loudness, which the latents hold, and harmony, from the notes of a song."""

from __future__ import annotations

import numpy as np
import torch

from ....synthesiser import Song
from ....synthesiser.arrange import Note, arrange
from ....synthesiser.instruments import VOICES
from ..architecture import LatentShape

PITCH_CLASSES = 12
CENTER, SPREAD = 0.13, 0.25
"""Mean and deviation of the pitch classes' loudness over the synthesiser's songs."""


def outline(song: Song, latents: torch.Tensor, seconds: float, shape: LatentShape) -> torch.Tensor:
    """The loudness channels of a song's latents and its harmony, padded with zeros to `[T, channels]`."""
    notes = torch.from_numpy(harmony(song, seconds, shape))[: len(latents)]
    left = latents.new_zeros((len(latents), shape.channels - shape.levels - PITCH_CLASSES))
    return torch.cat([latents[:, : shape.levels].float(), notes, left.float()], 1)


def harmony(song: Song, seconds: float, shape: LatentShape) -> np.ndarray:
    """How loud each pitch class sounds, normalised, float32 `[T, PITCH_CLASSES]` at the rate of the latents."""
    frames = shape.frames
    sounding = np.zeros((frames(seconds), PITCH_CLASSES), np.float32)
    time = np.arange(len(sounding), dtype=np.float32) / frames(1.0)
    for event in arrange(song, seconds):
        if isinstance(event, Note):
            first, last = frames(event.start), frames(event.start + event.seconds)
            decay = VOICES[event.instrument].partials(440.0)[0][2]
            envelope = np.exp(-time[: last - first] / decay) if decay else np.ones_like(time[: last - first])
            part = sounding[first:last, event.pitch % PITCH_CLASSES]
            part += event.gain * envelope[: len(part)]
    return (np.minimum(np.sqrt(sounding), 1) - CENTER) / SPREAD
