"""A track that is sent while it is made."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Self, cast

from generation.encode import MEDIA_TYPES
from generation.prepared import Prepared
from storage import keys


@dataclass(frozen=True)
class TrackHead:
    """What is known of a track when its first samples are.

    Attributes:
        media_type: its file's.
        backend: the backend that makes it.
        seed: of the sampling.
        key: the storage key that its file will have.
        lora_scale: the strength of the twins together; None without a twin.
    """

    media_type: str
    backend: str
    seed: int
    key: str
    lora_scale: float | None

    @classmethod
    def of(cls, prepared: Prepared, key: str) -> Self:
        request = prepared.request
        media_type = MEDIA_TYPES[request.output_format]
        return cls(media_type, prepared.backend.name, request.seed, key, prepared.lora_scale)

    @property
    def path(self) -> str:
        return keys.to_path(self.key)

    @property
    def track_id(self) -> str:
        track_id = keys.track_id(self.key)
        assert track_id is not None
        return track_id


@dataclass(frozen=True)
class StreamedTrack:
    """A track that is being made.

    Attributes:
        head: what is known of it.
        chunks: its file. Closing them ends the track.
    """

    head: TrackHead
    chunks: AsyncGenerator[bytes, None]

    @classmethod
    async def begun(cls, head_and_chunks: AsyncGenerator[TrackHead | bytes, None]) -> Self:
        """The track of a generator whose first item is the head, once that is there. Raises what the generator does."""
        head = await anext(head_and_chunks)
        return cls(cast("TrackHead", head), cast("AsyncGenerator[bytes, None]", head_and_chunks))
