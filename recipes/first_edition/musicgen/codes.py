"""Encode songs as codes, the model's training data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from models.musicgen import codec as coding

from ..clips import write_clips
from .architecture import HOP
from .codec import load_codec


def encode_songs(runs: Path, first: int, songs: int, device: str, compile_it: bool) -> None:
    """Encode `songs` songs from number `first` into `runs/codes`."""
    codec = load_codec(runs).to(device)

    def encode(audio: np.ndarray) -> torch.Tensor:
        """Codes `[T, K]` of mono audio `[samples]`."""
        padded = np.pad(audio, (0, -len(audio) % HOP))
        return coding.encode(codec, padded[None]).T.short().cpu()

    write_clips(runs / "codes", first, songs, encode)
