"""What the models are: checkpoints, adapters, and a package a backend: load, condition, sample, decode.

Nothing here imports torch by itself, so that the front process can read adapter headers without it.
"""

import os

# Several processes share a machine's cores (two runners, a trainer). Threads that spin while they wait make all of
# them many times slower, and OpenMP reads this once, when torch is first imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# For more rows MKL takes another kernel, which rounds in another way, and a track would depend on who else is served.
# In this mode ("conditional numerical reproducibility", strict) a row's product is the same to the last bit however
# many there are. MKL reads it once, too; on a processor that has no such mode it goes on without.
os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")
