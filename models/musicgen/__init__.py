"""MusicGen (Copet et al. 2023, "Simple and Controllable Music Generation"), from transformers' checkpoints.

A T5 encoder reads the prompt, a decoder writes EnCodec's codes token by token, and EnCodec decodes them to audio. The
modules are transformers'. The loop over tokens is not `generate`, which has one random generator, length and guidance
scale for a whole batch, and lets an item's music depend on the other items.
"""

from models.musicgen.model import MusicGen

__all__ = ["MusicGen"]
