"""Measured pieces that were never played."""

from __future__ import annotations

import numpy as np

from training.evaluation.listening import Piece


def pieces(count: int, centre: float, seed: int, pulse: float = 0.5, songs: int | None = None) -> list[Piece]:
    """`count` pieces whose embeddings are around `centre` and whose pulse is about `pulse`."""
    rng = np.random.default_rng(seed)
    return [
        Piece(
            f"{seed} {number}",
            f"song {seed} {number % (songs or count)}",
            rng.normal(centre, 1, (3, 200)).astype(np.float32),
            float(rng.normal(pulse, 0.02)),
            float(rng.normal(0.1, 0.01)),
        )
        for number in range(count)
    ]
