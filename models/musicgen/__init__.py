"""MusicGen (Copet et al. 2023, "Simple and Controllable Music Generation"), from transformers' checkpoints.

A T5 encoder reads the prompt, a decoder writes EnCodec's codes token by token, EnCodec turns them into audio. The
modules are transformers'; the loop over tokens is our own, since `generate` draws one stream of random numbers for a
whole batch, with one length and one guidance, and makes an item's music depend on its batch mates.
"""

from models.musicgen.model import MusicGen

__all__ = ["MusicGen"]
