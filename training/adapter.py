"""Storing the adapter that a job has trained."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from adapters.adapter_file import Header
from adapters.library import Library
from adapters.serialization import decode, encode
from adapters.weights import LoraPair
from models.base import Model, Text
from models.checkpoints import Checkpoint
from training.attempt import Attempt
from training.base import Recipe
from training.retry import retry_unavailable


def save_adapter(
    attempt: Attempt,
    pairs: Mapping[str, LoraPair],
    step: int,
    recipe: Recipe,
    model: Model,
    base: Checkpoint,
    bpm: int | None,
) -> bool:
    """Store the adapter after `step` steps as a version of the twin.

    Args:
        bpm: the producer's tempo.

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
        rank=recipe.rank,
        job_id=attempt.record.job_id,
        created_at=datetime.now(UTC).isoformat(),
        sha256="",
        partial="" if step == recipe.steps else f"{step}/{recipe.steps}",
        bpm=bpm,
    )
    data = encode(header, pairs, model)
    # Read back by the code that serves it, before anything refers to it.
    header = decode(data, model).header
    library = Library(attempt.storage)
    return retry_unavailable(lambda: library.save(data, header))


def median_tempo(texts: Iterable[Text]) -> int | None:
    """The median tempo of segments; of two in the middle the slower one, which is some song's.

    Args:
        texts: one for each segment.

    Returns:
        None if fewer than half of the segments have a tempo.
    """
    bpms = [text.bpm for text in texts]
    tempos = [bpm for bpm in bpms if bpm is not None]
    return statistics.median_low(tempos) if tempos and 2 * len(tempos) >= len(bpms) else None
