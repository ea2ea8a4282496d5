"""How many pieces that the twin plays repeat a segment that it was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from preprocessing.memorised import MEMORISED_SIMILARITY, TrainingSegments, fingerprint_of


def count_memorised(
    pieces: Sequence[NDArray[np.float32]], rate: int, segments: TrainingSegments
) -> dict[str, Any] | None:
    """The report's `memorised`; None if no piece can be compared.

    Args:
        pieces: each `[channels, samples]` at `rate` Hz.
    """
    fingerprints = [fingerprint_of(piece.mean(axis=0), rate) for piece in pieces]
    found = [nearest for each in fingerprints if each is not None and (nearest := segments.nearest(each))]
    if not found:
        return None
    best = max(found, key=lambda nearest: nearest.similarity)
    return {
        "pieces": len(found),
        "memorised": sum(nearest.memorised for nearest in found),
        "threshold": MEMORISED_SIMILARITY,
        "highest": round(best.similarity, 3),
        "segment": best.segment,
    }
