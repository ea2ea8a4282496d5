"""Encodes the recordings that rows are conditioned on, once for all rows that have the same.

A source whose latents were kept is not encoded.
"""

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
from models.ace_step.conditions import frames, silence
from models.ace_step.timbre import REFERENCE_SECONDS, excerpt, timbre_of
from models.base import Edit, Latents, Row

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
        gain: the factor from the source's decoded latents to its samples.
    """

    source: Tensor | None = None
    structure: Tensor | None = None
    timbre: Tensor | None = None
    gain: float = 1.0


NO_RECORDINGS = Encoded()


class RecordingEncoder:
    """Encodes rows' recordings, and keeps the most recently used results.

    Args:
        reference_gain: that of the checkpoint's `Traits`.
        max_bytes: of the results that are kept.
    """

    def __init__(
        self, pipeline: AceStepPipeline, reference_gain: float = 1.0, max_bytes: int = _MAX_CACHE_BYTES
    ) -> None:
        self._pipeline = pipeline
        self._reference_gain = reference_gain
        self._max_bytes = max_bytes
        self._kept: OrderedDict[Key, Tensor] = OrderedDict()

    def seconds(self, row: Row) -> float:
        """Duration of the row's recordings that have yet to be encoded."""
        seconds = 0.0
        if row.edit:
            length = frames(self._pipeline, row.seconds)
            last = "structure" if row.edit.task == "cover" else "source"
            is_known = last == "source" and self._usable(row.edit, length)
            if not is_known and (last, row.edit.source.sha256, length) not in self._kept:
                seconds += row.seconds
        if row.reference and ("timbre", row.reference.sha256, 0) not in self._kept:
            seconds += REFERENCE_SECONDS
        return seconds

    def encode(self, row: Row) -> Generator[None, None, Encoded]:
        """Encode the row's recordings, with pauses."""
        source = structure = timbre = None
        gain = 1.0
        if edit := row.edit:
            digest, length = edit.source.sha256, frames(self._pipeline, row.seconds)
            if latents := self._usable(edit, length):
                source, gain = self._placed(latents, edit, length), latents.gain
            else:
                source = yield from self._keep(
                    ("source", digest, length), lambda: self._latents(edit.source.samples, length)
                )
            if edit.task == "cover":
                whole = source
                structure = yield from self._keep(("structure", digest, length), lambda: self._structure(whole))
        if reference := row.reference:
            timbre = yield from self._keep(("timbre", reference.sha256, 0), lambda: self._timbre(reference.samples))
        return Encoded(source, structure, timbre, gain)

    def _usable(self, edit: Edit, length: int) -> Latents | None:
        """The source's kept latents, if they are this codec's and on the frames of the row."""
        latents, before = edit.source.latents, edit.before * self._pipeline.latents_per_second
        if latents is None or abs(before - round(before)) > 1e-6:
            return None
        channels = self._pipeline.transformer.config.audio_acoustic_hidden_dim
        fits = latents.values.shape[1:] == (channels,) and round(before) + len(latents.values) <= length
        return latents if fits and np.isfinite(latents.values).all() else None

    def _placed(self, latents: Latents, edit: Edit, length: int) -> Tensor:
        """The latents among those of silence, `[1, length, C]`."""
        result = silence(self._pipeline, length).clone()
        start = round(edit.before * self._pipeline.latents_per_second)
        result[:, start : start + len(latents.values)] = torch.tensor(latents.values).to(result)
        return result

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
        latents = yield from codec.encode(self._pipeline.vae, samples, length, self._pipeline.transformer.device)
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
        silent: Tensor = pipeline.condition_encoder.silent_timbre
        if not samples.any():
            return silent
        recording = excerpt(samples, pipeline.sample_rate)
        length = frames(pipeline, REFERENCE_SECONDS)
        latents = yield from codec.encode(pipeline.vae, recording, length, pipeline.transformer.device)
        timbre = timbre_of(pipeline, latents)
        return torch.lerp(silent.to(timbre), timbre, self._reference_gain)
