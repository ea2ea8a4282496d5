"""Measurements that docs/ quotes; each is a command of its own and none is a test."""

import os

# As MKL is by itself, which is what others run in. The mode that `models` sets would make products of two rows, which
# others take, much slower and ours hardly.
os.environ.setdefault("MKL_CBWR", "AUTO")
