"""Benchmarks: the measurements that docs/ quotes. Each module is a command; none of them is a test."""

import os

# MKL's default mode, which the compared implementations run in. The mode that `models` sets slows their products of two
# rows down, and ours hardly.
os.environ.setdefault("MKL_CBWR", "AUTO")
