"""What a track is compared with: the tempo and the key asked for, and the music of its twin."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from adapters.stored_adapter import StoredAdapter
from contract import GenerateRequest, is_id
from core.errors import Refusal
from core.notation import TEMPO, Unreadable
from core.tempos_in_text import tempos_in
from generation.figures import Goal
from storage import NotFound, Storage, keys

log = logging.getLogger("producer_twin.front")

Twins = Sequence[list[StoredAdapter]]


def strengths_of(request: GenerateRequest, twins: Twins) -> list[float]:
    """The strength of each twin: without a `lora_scale` its share of its own recommended one."""
    strengths = list(request.strengths.values())
    if request.lora_scale is not None:
        return strengths
    return [share * found[0].header.default_scale for share, found in zip(strengths, twins, strict=True)]


def tempo_of(request: GenerateRequest, twins: Twins, strengths: Sequence[float]) -> int | None:
    """The request's tempo; else none if the prompt states one; else that of the strongest twin that has one."""
    if request.bpm is not None:
        return request.bpm
    if any(tempos_in(request.prompt)):
        return None
    tempos = [
        (strength, found[0].header.bpm)
        for found, strength in zip(twins, strengths, strict=True)
        if strength > 0 and found[0].header.bpm is not None
    ]
    return max(tempos, key=lambda tempo: tempo[0])[1] if tempos else None


def goal_of(request: GenerateRequest, twins: Twins, strengths: Sequence[float], storage: Storage) -> Goal:
    """What the request's tracks are compared with.

    Raises:
        Refusal: 400 or 409, `rank` or `accept` has nothing to compare with.
    """
    bpm = tempo_of(request, twins, strengths) or _tempo_in(request.prompt)
    if bpm is None and (request.rank == "tempo" or (request.accept and request.accept.tempo_within is not None)):
        raise Refusal(400, "bpm: send the tempo that rank or accept compares with")
    job = _strongest_job(twins, strengths)
    own_music = _stored(keys.own_music(job), storage) if job else None
    if own_music is None and request.rank == "twin":
        raise Refusal(
            409,
            "rank: the twin's music was not measured when it was trained; train it again, or rank by tempo or key",
        )
    segments = _stored(keys.training_segments(job), storage) if job else None
    return Goal(bpm, request.key, own_music, segments)


def _tempo_in(prompt: str) -> float | None:
    try:
        return TEMPO.read(list(tempos_in(prompt)))
    except Unreadable:
        return None


def _strongest_job(twins: Twins, strengths: Sequence[float]) -> str | None:
    """The job that trained the strongest twin; None without a twin, and for an imported one."""
    felt = [(strength, found[0]) for found, strength in zip(twins, strengths, strict=True) if strength > 0]
    if not felt:
        return None
    job = max(felt, key=lambda each: each[0])[1].header.job_id
    return job if is_id(job) else None


def _stored(key: str, storage: Storage) -> bytes | None:
    """A measurement of the twin's music; None if there is none, or it cannot be read."""
    try:
        return storage.get(key)
    except NotFound:
        return None
    except Refusal as refusal:
        log.warning("%s cannot be read: %s", key, refusal.message)
        return None
