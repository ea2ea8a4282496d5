"""Several takes of one track: how many, their order, which is accepted, and the figures that are measured of each."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from contract.base import Answer, Request

MAX_TAKES = 8
# The tracks that one request may draw until one fits.
MAX_DRAWS = 32
# The music of all takes of one request, which are in memory together.
MAX_TAKES_SECONDS = 600.0

Rank = Literal["tempo", "key", "twin", "none"]


class Accept(Request):
    """The conditions that a take must meet; takes are drawn again until it does, or until `draws` are drawn in all.

    `tempo_within` is the largest distance of the tempo that is heard from the one asked for, as a share of it.
    """

    tempo_within: float | None = Field(None, gt=0, le=0.5)
    key: bool = False
    draws: int = Field(8, ge=1, le=MAX_DRAWS)

    @model_validator(mode="after")
    def _has_a_condition(self) -> Self:
        if self.tempo_within is None and not self.key:
            raise ValueError("accept: it has no condition; send tempo_within, such as 0.02, or key: true")
        return self


class TakesFields(Request):
    """How many takes are made of a track, which of them are answered, and whether their figures are."""

    takes: int = Field(1, ge=1, le=MAX_TAKES)
    rank: Rank = "none"
    best_of: int | None = Field(None, ge=2, le=MAX_TAKES)
    accept: Accept | None = None
    figures: bool = False

    @model_validator(mode="after")
    def _takes_fit_together(self) -> Self:
        if self.best_of and self.takes > 1:
            raise ValueError("takes, best_of: send one of the two; best_of answers one take")
        if self.best_of and self.rank == "none":
            raise ValueError("rank: best_of needs an order; send tempo, key or twin")
        if self.rank != "none" and self.drawn_at_once == 1 and not self.accept:
            raise ValueError("rank: there is one take; send takes, best_of or accept, or leave it out")
        if self.accept and self.accept.draws < self.drawn_at_once:
            raise ValueError(f"accept: {self.accept.draws} draws are fewer than the {self.drawn_at_once} takes")
        return self

    @property
    def drawn_at_once(self) -> int:
        """The number of takes that are drawn first, as rows of one batch."""
        return self.best_of or self.takes

    @property
    def measures(self) -> bool:
        """Whether the takes are measured: figures are asked for, or something else needs them."""
        return self.figures or self.drawn_at_once > 1 or self.rank != "none" or self.accept is not None


class NearestSegment(Answer):
    """The segment of the twin's training music that a track repeats most.

    `segment` is its number in the dataset, as in `seg_0003`. `similarity` is 1 for a copy, also in another key or a
    little faster or slower; `memorised` says whether it is so high that other pieces of the producer do not reach it.
    """

    segment: int
    similarity: float
    memorised: bool


class Figures(Answer):
    """What is heard in a track; `null` where it cannot be told.

    Each confidence is the probability that the value is right. `bpm_off` is the distance of `bpm` from the tempo asked
    for, as a share of it. `loudness` is integrated, in LUFS, `peak` in dBFS; `clipped` counts the samples in runs at
    full scale. `twin_distance`, from the music of the twin, is measured as the twin report's `resemblance`: lower is
    nearer.
    """

    bpm: float | None
    bpm_confidence: float | None
    bpm_off: float | None
    key: str | None
    key_confidence: float | None
    key_matches: bool | None
    loudness: float | None
    peak: float | None
    clipped: int
    twin_distance: float | None
    nearest_segment: NearestSegment | None


class Take(Answer):
    """One of several takes. `seed` alone makes it again. `accepted` is null without `accept`."""

    seed: int
    url: str
    output_path: str
    figures: Figures | None
    accepted: bool | None


class FailedTake(Answer):
    """A take that could not be made, while others were. `error` says why."""

    seed: int
    error: str


class TakesAnswer(Answer):
    """With `takes` above 1: links to all of them, in the order of `rank`; `draws` is the number that was drawn.

    `failed` has those that could not be made.
    """

    backend: str
    sample_rate: int
    duration_seconds: float
    lora_scale: float | None
    draws: int
    takes: list[Take]
    failed: list[FailedTake]
