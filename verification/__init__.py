"""One command that proves a machine and its checkpoints: `python -m verification`. docs/gpu.md describes it.

It needs torch, transformers, diffusers, peft and pydantic, but no server.
"""
