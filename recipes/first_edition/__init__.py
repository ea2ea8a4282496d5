"""How the starter was made: one command a stage, see `python -m recipes.first_edition --help`."""

import os

# The codecs learn in bfloat16, and with AMX oneDNN 3.12 computes some of their convolutions, and gradients, wrongly.
# Read once, when torch is first imported.
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_FP16")
