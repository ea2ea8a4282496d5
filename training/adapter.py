"""Storing the adapter that a job has trained."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from adapters.adapter_file import Header
from adapters.library import Library
from adapters.serialization import decode, encode
from adapters.weights import LoraPair
from models.base import Model, Text
from models.checkpoints import Checkpoint
from training.attempt import Attempt
from training.retry import retry_unavailable

# Tempos that differ by this share count as near: the deviation of a normal distribution.
_TEMPO_SPREAD = 0.08


@dataclass(frozen=True)
class TrainedAdapter:
    """An adapter and what its file says of it.

    Attributes:
        pairs: by layer name.
        rank: of all layers.
        partial: `<steps done>/<steps planned>` if its training was cancelled, otherwise empty.
        bpm: the producer's tempo.
        recommended_scale: the strength that the evaluation recommends; None if it recommends none.
    """

    pairs: Mapping[str, LoraPair]
    rank: int
    partial: str
    bpm: int | None
    recommended_scale: float | None


def save_adapter(attempt: Attempt, adapter: TrainedAdapter, model: Model, base: Checkpoint) -> bool:
    """Store an adapter as a version of the twin.

    Returns:
        Whether it is the twin's current version. The adapter of a cancelled job does not replace a complete one.

    Raises:
        InvalidAdapter: the encoded adapter cannot be read back.
    """
    header = Header(
        producer_id=attempt.record.producer_id,
        model_name=attempt.record.model_name,
        backend=attempt.record.backend,
        base=base.name,
        base_sha256=base.sha256,
        rank=adapter.rank,
        job_id=attempt.record.job_id,
        created_at=datetime.now(UTC).isoformat(),
        sha256="",
        partial=adapter.partial,
        bpm=adapter.bpm,
        recommended_scale=adapter.recommended_scale,
    )
    data = encode(header, adapter.pairs, model)
    # Read back by the code that serves it, before anything refers to it.
    header = decode(data, model).header
    library = Library(attempt.storage)
    return retry_unavailable(lambda: library.save(data, header))


def usual_tempo(texts: Iterable[Text]) -> int | None:
    """The tempo that most segments have or are near; of several the one nearest to their median, then the slowest.

    The median alone can be a tempo between those that the producer uses.

    Args:
        texts: one for each segment.

    Returns:
        None if fewer than half of the segments have a tempo.
    """
    bpms = [text.bpm for text in texts]
    tempos = [bpm for bpm in bpms if bpm is not None]
    if not tempos or 2 * len(tempos) < len(bpms):
        return None
    median = statistics.median_low(tempos)

    def order(bpm: int) -> tuple[float, float, int]:
        near = sum(math.exp(-((math.log(other / bpm) / _TEMPO_SPREAD) ** 2) / 2) for other in tempos)
        return -round(near, 9), abs(bpm - median), bpm

    return min(tempos, key=order)
