"""The codec of the trained encoder and decoder."""

from __future__ import annotations

from pathlib import Path

from diffusers import AutoencoderOobleck

from recipes.first_edition.state import Checkpoints

from .decoder_training import load_decoder


def load_codec(runs: Path) -> AutoencoderOobleck:
    """The averaged weights of both last checkpoints.

    Raises:
        FileNotFoundError: one of the two is not trained yet.
    """
    codec = load_decoder(runs)
    saved = Checkpoints(runs / "encoder.pt").load()
    if saved is None:
        raise FileNotFoundError(f"{runs / 'encoder.pt'}: train the encoder first")
    codec.encoder.load_state_dict(saved["average"])
    return codec.eval()
