"""What the models are: checkpoints, adapters, and a package a backend that loads, conditions, samples and decodes.

Nothing here imports torch by itself, so that the front process can read adapter headers without it.
"""
