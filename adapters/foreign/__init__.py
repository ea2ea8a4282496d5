"""Converts adapters made by other tools into adapter files of ours (adapters/adapter_file.py).

Supported are LoRA, DoRA, LoHa, LoKr and OFT, in PEFT folders (the original ACE-Step's among them), diffusers' files,
and with the names of ComfyUI, kohya, musubi, LyCORIS and Side-Step. They differ in the names of layers and matrices and
in where the scaling is written. Whatever is not understood is refused: an adapter of which a part is silently dropped
has only part of its effect.
"""

from adapters.foreign.convert import Converted, convert

__all__ = ["Converted", "convert"]
