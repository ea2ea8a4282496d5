"""Records of tracks, and a storage that counts its calls, for tests of the library."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

from contract import GenerateRequest
from generation.delivery.plan import Delivered
from generation.encode import Sound
from generation.provenance import Provenance
from generation.track_record import TrackRecord, new_record
from generation.waveform import waveform
from storage import Storage, keys
from tests.sounds import chord

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)


class CountedStorage:
    """Counts the calls of another storage, but `local`, which asks no bucket.

    Attributes:
        calls: how often each method was called.
    """

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.calls: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        if name != "local":
            self.calls[name] += 1
        return getattr(self.storage, name)


def a_record(
    minute: float = 0, producer: str | None = None, maker: str | None = None, twins: tuple[str, ...] = (), **body: Any
) -> TrackRecord:
    """The record of a track that was made `minute` minutes after noon."""
    made_at = NOON + timedelta(minutes=minute)
    key = keys.output(producer, keys.new_track_name(made_at), "wav", maker)
    request = GenerateRequest.model_validate({"prompt": "x", "seed": 7} | body)
    provenance = Provenance("ace_step", "starter", 7, twins, made_at)
    sound = Sound((chord(0.1).astype("float32"),), 48_000)
    made = Delivered(b"", 48_000, sound.seconds, waveform(sound))
    return new_record(key, request, provenance, made, producer, list(request.strengths.values()))
