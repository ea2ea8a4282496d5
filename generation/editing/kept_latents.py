"""The latents of a stored track, in a safetensors file beside it, so that an edit of the track need not encode it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from typing import TYPE_CHECKING

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from adapters.adapter_file import InvalidAdapter
from adapters.safetensors_header import read_safetensors_header
from contract import GenerateRequest, OutputFormat
from core.errors import Refusal
from core.settings import Settings
from generation.outbox import Outbox
from runners import Backend
from runners.messages import LatentsMessage, RunnerState, TrackAnswer
from storage import Damaged, NotFound, Unavailable, digest_of, keys

if TYPE_CHECKING:
    from generation.editing.preparation import Edit

log = logging.getLogger("producer_twin.front")

_LOSSLESS: Sequence[OutputFormat] = ("wav", "flac")
_TENSOR = "latents"


def are_wanted(request: GenerateRequest, backend: Backend, state: RunnerState, settings: Settings) -> bool:
    """Whether the track's latents are kept: as the request says, and otherwise as the setting does, where they can be.

    Raises:
        Refusal: 400, 409, the request asks for them and they cannot be kept.
    """
    is_lossless = request.output_format in _LOSSLESS
    is_unchanged = request.loudness is None and not request.loop
    if request.keep_latents and not is_lossless:
        formats = " or ".join(_LOSSLESS)
        raise Refusal(
            400,
            f"keep_latents: {request.output_format} changes the track; send output_format: {formats}, or leave it out",
        )
    if request.keep_latents and not is_unchanged:
        changing = "loop" if request.loop else "loudness"
        raise Refusal(400, f"keep_latents: {changing} changes the track; leave one of them out")
    if request.keep_latents and not state.keeps_latents:
        raise Refusal(409, f"keep_latents: {backend.name} makes tracks without latents; leave it out")
    wanted = settings.keep_latents if request.keep_latents is None else request.keep_latents
    return wanted and is_lossless and is_unchanged and state.keeps_latents


def of_file(track: TrackAnswer, edit: Edit | None) -> LatentsMessage | None:
    """The latents of a track, with the gain to the samples of its file."""
    if track.latents and edit and edit.keeps_outside:
        return track.latents.model_copy(update={"gain": track.latents.gain * edit.source.peak})
    return track.latents


def store(latents: LatentsMessage, track_key: str, track: bytes, base_sha256: str, outbox: Outbox) -> None:
    """Store the latents of a track that was stored. A full storage loses the latents, not the track.

    Args:
        track: the stored file.
        base_sha256: the digest of the checkpoint that made them.
    """
    values = np.frombuffer(latents.values, "<f4").reshape(-1, latents.channels)
    facts = {"base_sha256": base_sha256, "track_sha256": sha256(track).hexdigest(), "gain": repr(latents.gain)}
    try:
        outbox.put(keys.latents(track_key), save({_TENSOR: values}, facts))
    except Unavailable as error:
        log.warning("the latents of %s were not kept: %s", track_key, error.message)


def find(track_key: str, base_sha256: str | None, outbox: Outbox) -> LatentsMessage | None:
    """The latents of a stored track. None if none were kept, or they are another checkpoint's or another file's."""
    try:
        waiting = outbox.waiting(keys.latents(track_key))
        data = waiting.read_bytes() if waiting else outbox.storage.get(keys.latents(track_key))
    except (NotFound, FileNotFoundError, Damaged):
        return None
    try:
        facts = read_safetensors_header(data).metadata
        if facts["base_sha256"] != base_sha256 or facts["track_sha256"] != _digest(track_key, outbox):
            return None
        values = load(data)[_TENSOR]
        return LatentsMessage(
            values=values.astype("<f4").tobytes(), channels=values.shape[1], gain=float(facts["gain"])
        )
    except (InvalidAdapter, SafetensorError, KeyError, IndexError, ValueError) as error:
        log.warning("the latents of %s are not used: %s", track_key, error)
        return None


def _digest(key: str, outbox: Outbox) -> str | None:
    if waiting := outbox.waiting(key):
        with suppress(FileNotFoundError):  # it was sent meanwhile
            return sha256(waiting.read_bytes()).hexdigest()
    return digest_of(outbox.storage, key)
