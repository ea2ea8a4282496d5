"""Adapters made elsewhere, brought into the one form that is used here (adapters/adapter_file.py).

Known are PEFT folders (the original ACE-Step's among them), diffusers' files, ComfyUI's, kohya's and LyCORIS' names.
What they have in common is a pair of matrices a layer; they differ in what they call it and in where its scale is
written. What is not understood is refused: a part that is left out in silence is how adapters come to have half their
effect.
"""

from adapters.foreign.convert import Adopted, adopt

__all__ = ["Adopted", "adopt"]
