"""Builds a tiny checkpoint for each backend without a shipped starter: `python -m scripts.tiny_checkpoints`."""

from models.checkpoints import STARTER, resolve
from runners import TABLE

for backend in TABLE:
    print(f"{backend.name}: {resolve(STARTER, backend.name, backend.load_tiny()).folder}")
