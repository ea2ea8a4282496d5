"""Benchmarks: the measurements that docs/ quotes. Each module is a command; none of them is a test."""

import os

# MKL's default mode, which the compared implementations run in. The mode that `models` sets slows their products of two
# rows down, and ours hardly.
os.environ.setdefault("MKL_CBWR", "AUTO")
# As in the service: threads that spin while they wait slow each other down on a machine with other work.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
