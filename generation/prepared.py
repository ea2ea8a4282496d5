"""A request that was checked, with all that its tracks are made of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from adapters.stored_adapter import StoredAdapter
from contract import GenerateRequest
from core import principal
from generation.delivery.plan import Delivery
from generation.provenance import Provenance
from runners import Backend
from runners.messages import AdapterRef, RunnerState, TrackRequest
from storage import keys


@dataclass(frozen=True)
class Prepared:
    """A request that can be sent to a runner.

    Attributes:
        request: the HTTP request.
        twins: the files of each twin.
        strengths: those of the twins.
        backend: the one that makes the track.
        state: its runner's.
        seconds: of the track that was asked for.
        delivery: how the track becomes a file.
        track_request: to the runner, without adapters.
        provenance: of the first take.
        producer: whose twin or recording the track comes from.
    """

    request: GenerateRequest
    twins: Sequence[list[StoredAdapter]]
    strengths: Sequence[float]
    backend: Backend
    state: RunnerState
    seconds: float
    delivery: Delivery
    track_request: TrackRequest
    provenance: Provenance
    producer: str | None

    @property
    def lora_scale(self) -> float | None:
        """The strength of the twins together; None without a twin."""
        return round(sum(map(abs, self.strengths)), 6) if self.twins else None

    def new_key(self) -> str:
        """A new storage key for a track."""
        return self.key_of(keys.new_track_name(self.provenance.made_at or datetime.now(UTC)))

    def key_of(self, name: str) -> str:
        """The storage key of a track of this name."""
        return keys.output(self.producer, name, self.request.output_format, principal.current().tracks)

    def adapters(self) -> Iterator[list[AdapterRef]]:
        """The twins' adapters to try in turn: a twin may have copies at two paths, of which one may be damaged."""
        for attempt in range(max(map(len, self.twins), default=1)):
            files = [found[min(attempt, len(found) - 1)] for found in self.twins]
            yield [
                AdapterRef(key=twin.key, spares=twin.spares, header=twin.header, strength=strength)
                for twin, strength in zip(files, self.strengths, strict=True)
            ]
