"""How many pieces that the twin plays repeat a segment that it was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from preprocessing.memorised import MEMORISED_SIMILARITY, TrainingSegments


def count_memorised(
    pieces: Sequence[NDArray[np.float32]], rate: int, segments: TrainingSegments, codec_similarity: float | None = None
) -> dict[str, Any] | None:
    """The report's `memorised`; None if no piece can be compared.

    Args:
        pieces: each `[channels, samples]` at `rate` Hz.
        codec_similarity: of training music after the model's codec.
    """
    found = [nearest for piece in pieces if (nearest := segments.nearest_to(piece.mean(axis=0), rate))]
    if not found:
        return None
    best = max(found, key=lambda nearest: nearest.similarity)
    return {
        "pieces": len(found),
        "memorised": sum(nearest.memorised for nearest in found),
        "threshold": MEMORISED_SIMILARITY,
        "highest": round(best.similarity, 3),
        "segment": best.segment,
        "codec": None if codec_similarity is None else round(codec_similarity, 3),
    }
