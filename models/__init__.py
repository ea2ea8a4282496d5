"""The models: checkpoints, devices, and a package for each backend that loads, conditions, samples and decodes.

This module does not import torch. It sets environment variables that torch's libraries read when they are loaded.
"""

import os

# Several processes share a machine's cores (runners, a trainer), and OpenMP's threads, if they spin while they wait,
# make all of them many times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# MKL chooses its kernel by the number of rows, and another kernel rounds differently, so that a track would depend on
# which other tracks are in its batch. With strict conditional numerical reproducibility (CNR) a row's product is the
# same to the last bit for any number of rows. MKL ignores the setting on processors that do not support it.
os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")
