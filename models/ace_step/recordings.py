"""Encodes the recordings that rows are conditioned on, once for all rows that have the same."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Generator
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import AceStepPipeline
from numpy.typing import NDArray
from torch import Tensor

from models.ace_step import codec
from models.ace_step.conditions import frames
from models.ace_step.timbre import REFERENCE_SECONDS, excerpt, timbre_of
from models.base import Row

# The latents of an hour take 12 MB in half precision.
_MAX_CACHE_BYTES = 64 * 2**20
# Audio tokens that are computed at once. They do not depend on each other.
_CHUNK_TOKENS = 500

# What was encoded, the digest of its recording, and its length in frames.
Key = tuple[str, str, int]


@dataclass(frozen=True)
class Encoded:
    """A row's recordings; None for those that it does not have.

    Attributes:
        source: the source's latents, `[1, T, C]`.
        structure: latents of the source's audio tokens, `[1, T, C]`, which a cover follows.
        timbre: the reference's, `[1, 1, D]`.
    """

    source: Tensor | None = None
    structure: Tensor | None = None
    timbre: Tensor | None = None


NO_RECORDINGS = Encoded()


class RecordingEncoder:
    """Encodes rows' recordings, and keeps the most recently used results.

    Args:
        max_bytes: of the results that are kept.
    """

    def __init__(self, pipeline: AceStepPipeline, max_bytes: int = _MAX_CACHE_BYTES) -> None:
        self._pipeline = pipeline
        self._max_bytes = max_bytes
        self._kept: OrderedDict[Key, Tensor] = OrderedDict()

    def seconds(self, row: Row) -> float:
        """Duration of the row's recordings that have yet to be encoded."""
        seconds = 0.0
        if row.edit:
            last = "structure" if row.edit.task == "cover" else "source"
            if (last, row.edit.source.sha256, frames(self._pipeline, row.seconds)) not in self._kept:
                seconds += row.seconds
        if row.reference and ("timbre", row.reference.sha256, 0) not in self._kept:
            seconds += REFERENCE_SECONDS
        return seconds

    def encode(self, row: Row) -> Generator[None, None, Encoded]:
        """Encode the row's recordings, with pauses."""
        source = structure = timbre = None
        if edit := row.edit:
            digest, length = edit.source.sha256, frames(self._pipeline, row.seconds)
            source = yield from self._keep(
                ("source", digest, length), lambda: self._latents(edit.source.samples, length)
            )
            if edit.task == "cover":
                latents = source
                structure = yield from self._keep(("structure", digest, length), lambda: self._structure(latents))
        if reference := row.reference:
            timbre = yield from self._keep(("timbre", reference.sha256, 0), lambda: self._timbre(reference.samples))
        return Encoded(source, structure, timbre)

    def _keep(self, key: Key, encode: Callable[[], Generator[None, None, Tensor]]) -> Generator[None, None, Tensor]:
        result = self._kept.get(key)
        if result is None:
            result = yield from encode()
        self._kept[key] = result
        self._kept.move_to_end(key)
        while len(self._kept) > 1 and sum(each.nbytes for each in self._kept.values()) > self._max_bytes:
            self._kept.popitem(last=False)
        return result

    def _latents(self, samples: NDArray[np.float32], length: int) -> Generator[None, None, Tensor]:
        latents = yield from codec.encode(self._pipeline.vae, samples, length)
        return latents.to(self._pipeline.transformer.dtype)

    @torch.inference_mode()
    def _structure(self, latents: Tensor) -> Generator[None, None, Tensor]:
        pipeline = self._pipeline
        tokenizer, detokenizer = pipeline.audio_tokenizer, pipeline.audio_token_detokenizer
        silence = pipeline.condition_encoder.silence_latent.to(latents)
        parts = []
        for part in latents.split(_CHUNK_TOKENS * tokenizer.pool_window_size, dim=1):
            tokens, _ = tokenizer.tokenize(part, silence)
            parts.append(detokenizer(tokens)[:, : part.shape[1]])
            yield
        return torch.cat(parts, dim=1)

    def _timbre(self, samples: NDArray[np.float32]) -> Generator[None, None, Tensor]:
        pipeline = self._pipeline
        if not samples.any():
            return pipeline.condition_encoder.silent_timbre
        recording = excerpt(samples, pipeline.sample_rate)
        length = frames(pipeline, REFERENCE_SECONDS)
        latents = yield from codec.encode(pipeline.vae, recording, length)
        return timbre_of(pipeline, latents)
