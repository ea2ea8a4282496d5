"""Tiny checkpoints of the real architectures with fixed random weights, for tests that do not need music."""
