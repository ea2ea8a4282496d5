"""A track that was generated and stored."""

from __future__ import annotations

from dataclasses import dataclass

from contract import FailedTake, Figures
from storage import keys


@dataclass(frozen=True)
class Generated:
    """A stored track.

    Attributes:
        file: the encoded audio.
        media_type: the file's media type.
        backend: the backend that generated it.
        seed: the seed of the sampling.
        sample_rate: the file's, in Hz.
        seconds: duration.
        key: the file's storage key.
        lora_scale: the strength of the twins together; None without a twin.
        figures: what is heard in it; None where that is not measured.
        accepted: whether it meets the conditions of `accept`; None without them.
        draws: the number of takes that were drawn.
        failed: those of them that could not be made.
    """

    file: bytes
    media_type: str
    backend: str
    seed: int
    sample_rate: int
    seconds: float
    key: str
    lora_scale: float | None = None
    figures: Figures | None = None
    accepted: bool | None = None
    draws: int = 1
    failed: tuple[FailedTake, ...] = ()

    @property
    def path(self) -> str:
        return keys.to_path(self.key)
