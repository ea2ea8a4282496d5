"""Tiny random-weight checkpoints of the true architectures, always the same, for tests where sound does not matter."""
