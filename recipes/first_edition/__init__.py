"""How the shipped starters were made, stage by stage; see `python -m recipes.first_edition --help`."""

import os

# The codecs train in bfloat16, and with AMX oneDNN 3.12 computes some of their convolutions and gradients wrongly.
# Set here, as oneDNN reads it once, when torch is first imported.
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_FP16")
