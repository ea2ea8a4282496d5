"""What the models are: checkpoints, adapters, and a package a backend: load, condition, sample, decode.

Nothing here imports torch by itself, so that the front process can read adapter headers without it.
"""

import os

# Several processes share a machine's cores (two runners, a trainer). Threads that spin while they wait make all of
# them many times slower, and OpenMP reads this once, when torch is first imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
