"""Several takes of a track: drawn together, measured, ordered, and drawn again until one is accepted."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from contract import Accept, FailedTake, Figures, Rank, TakesFields
from core.errors import Refusal
from generation.delivery.plan import Delivered
from generation.provenance import Provenance
from runners.messages import LatentsMessage

log = logging.getLogger("producer_twin.front")


@dataclass(frozen=True)
class Draft:
    """A take that is made and not stored yet.

    Attributes:
        seed: its own.
        made: its file.
        provenance: how it was generated.
        figures: None where it is not measured, or cannot be.
        latents: None where they are not kept.
    """

    seed: int
    made: Delivered
    provenance: Provenance
    figures: Figures | None
    latents: LatentsMessage | None = None


# Draws takes: the number of takes before them, and how many. A take's seed is higher by the number of those before it.
Draw = Callable[[int, int], Awaitable[list[Draft]]]


async def select(request: TakesFields, draw: Draw) -> tuple[list[Draft], int]:
    """Draw takes, and again where `accept` is not met. Of those drawn, only the best are kept in memory.

    Returns:
        The takes to answer, the best first, and the number of takes that were drawn.

    Raises:
        Refusal: the first takes cannot be drawn. If later ones cannot, those that there are are answered.
    """
    drawn = request.drawn_at_once
    best = _best(await draw(0, drawn), request)
    while request.accept and drawn < request.accept.draws:
        missing = request.takes - sum(accepts(request.accept, draft.figures) for draft in best)
        if not missing:
            break
        count = min(request.best_of or missing, request.accept.draws - drawn)
        try:
            best = _best(best + await draw(drawn, count), request)
        except Refusal as refusal:
            log.warning("no more takes are drawn: %s", refusal.message)
            break
        drawn += count
    return best, drawn


def made_of(results: Sequence[Draft | BaseException], seeds: Sequence[int], failed: list[FailedTake]) -> list[Draft]:
    """The takes of a draw that were made; the others are added to `failed`.

    Raises:
        BaseException: the first error, if all failed, or the request was cancelled.
    """
    errors = [result for result in results if isinstance(result, BaseException)]
    if len(errors) == len(results) or any(isinstance(error, asyncio.CancelledError) for error in errors):
        raise errors[0]
    for seed, result in zip(seeds, results, strict=True):
        if isinstance(result, Refusal):
            failed.append(FailedTake(seed=seed, error=result.message))
        elif isinstance(result, BaseException):
            log.error("the take with seed %d failed", seed, exc_info=result)
            failed.append(FailedTake(seed=seed, error="the service failed at this take; try another seed"))
    return [result for result in results if isinstance(result, Draft)]


def accepts(accept: Accept, figures: Figures | None) -> bool:
    """Whether a take meets the conditions. One without figures does not."""
    if figures is None:
        return False
    in_time = accept.tempo_within is None or (figures.bpm_off is not None and figures.bpm_off <= accept.tempo_within)
    return in_time and (figures.key_matches is True or not accept.key)


def _best(drafts: list[Draft], request: TakesFields) -> list[Draft]:
    """As many drafts as are answered: those that are accepted first, then by rank, then in the order of drawing."""

    def order(draft: Draft) -> tuple[bool, float]:
        refused = request.accept is not None and not accepts(request.accept, draft.figures)
        return refused, _distance(request.rank, draft.figures)

    return sorted(drafts, key=order)[: request.takes]


def _distance(rank: Rank, figures: Figures | None) -> float:
    """How far a take is from what the rank asks for; infinite where it cannot be told."""
    if rank == "none":
        return 0.0
    if figures is None:
        return math.inf
    if rank == "key":
        if figures.key_matches is None or figures.key_confidence is None:
            return math.inf
        return 1 - figures.key_confidence if figures.key_matches else 1 + figures.key_confidence
    distance = figures.bpm_off if rank == "tempo" else figures.twin_distance
    return math.inf if distance is None else distance
