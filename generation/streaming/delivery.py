"""The delivery of a track that is sent while it is made: which requests can be, and the file of its samples."""

from __future__ import annotations

from dataclasses import replace
from typing import Self

import numpy as np
import soxr

from contract import KEEPS_SOURCE, GenerateRequest, OutputFormat
from core.errors import Refusal
from generation.delivery.plan import Delivery
from generation.delivery.true_peak import Samples
from generation.encode import resampled_rate
from generation.prepared import Prepared
from generation.provenance import Provenance
from generation.streaming.encoder import Form, encoder
from generation.streaming.limiter import Limiter
from generation.waveform import Waveform
from models.dither import Dither
from runners import Backend
from runners.messages import RunnerState


def check(request: GenerateRequest) -> None:
    """Refuse (400) a stream whose file, or answer, depends on the whole track."""
    check_live(request)
    for name in ("figures", "loudness"):
        if getattr(request, name):
            raise Refusal(400, f"{name}: it needs the whole track before it is sent; leave it or stream out")
    if request.output_format == "m4a":
        raise Refusal(400, "stream: m4a is written when the track is whole; send wav, flac, mp3 or opus")


def check_live(request: GenerateRequest) -> None:
    """Refuse (400) a request whose audio is not known while it is made."""
    if request.takes > 1:
        raise Refusal(400, "takes: a stream is one track; leave it or stream out")
    for name in ("best_of", "accept", "loop"):
        if getattr(request, name):
            raise Refusal(400, f"{name}: it needs the whole track before it is sent; leave it or stream out")
    if request.task in KEEPS_SOURCE:
        raise Refusal(400, f"stream: {request.task} keeps the source, and is sent when it is whole; leave it out")


def check_backend(backend: Backend, state: RunnerState) -> None:
    """Refuse (409) a stream of a backend whose tracks are decoded as a whole."""
    if not state.streams:
        raise Refusal(409, f"stream: {backend.name} makes tracks as a whole; leave it out")


class StreamedDelivery:
    """Makes a track's file of its samples, as they come.

    Other tracks are brought to a peak of −1 dBFS, which takes the whole track. A streamed track stays as loud as the
    model makes it, and a limiter turns down samples over −1 dBFS.

    Args:
        delivery: of the request, for its format and bit depth.
        provenance: for the file's tags, and the seed of the dither.
        sample_rate: the model's, in Hz.
        channels: the model's.
        frames: of the whole track, at the model's rate.
    """

    def __init__(
        self, delivery: Delivery, provenance: Provenance, sample_rate: int, channels: int, frames: int
    ) -> None:
        output_format = delivery.request.output_format
        self.sample_rate = resampled_rate(sample_rate, output_format)
        self.seconds = frames / sample_rate
        self._missing = frames
        self._channels = channels
        self._limiter = Limiter(sample_rate)
        is_resampled = self.sample_rate != sample_rate
        self._resampler = soxr.ResampleStream(sample_rate, self.sample_rate, channels) if is_resampled else None
        self._dither = Dither(delivery.dither_bits, provenance.seed) if delivery.dither_bits else None
        self._waveform = Waveform(round(self.seconds * self.sample_rate))
        tags = provenance.tags(output_format)
        form = Form(output_format, self.sample_rate, channels, delivery.sample_format, frames, tags)
        self._encoder = encoder(form)

    @classmethod
    def of(cls, prepared: Prepared, output_format: OutputFormat | None = None) -> Self:
        """That of a request; in its own format, unless another one is given."""
        rate, channels = prepared.state.sample_rate, prepared.state.channels
        assert rate and channels, "they are known when the runner is ready"
        delivery = prepared.delivery
        if output_format:
            delivery = replace(delivery, request=prepared.request.model_copy(update={"output_format": output_format}))
        return cls(delivery, prepared.provenance, rate, channels, round(prepared.seconds * rate))

    @property
    def waveform(self) -> bytes:
        """That of the samples so far: see `generation.waveform`."""
        return self._waveform.encoded()

    def add(self, pcm: bytes) -> bytes:
        """The next bytes of the file, after more samples: interleaved 32-bit floats."""
        samples = np.frombuffer(pcm, "<f4").reshape(-1, self._channels)
        self._missing -= len(samples)
        return self._write(samples, is_last=False)

    def close(self) -> bytes:
        """The last bytes of the file. Raises EOFError if samples are missing."""
        if self._missing:
            raise EOFError(f"{self._missing} samples are missing")
        return self._write(np.zeros((0, self._channels), np.float32), is_last=True) + self._encoder.close()

    def _write(self, samples: Samples, is_last: bool) -> bytes:
        samples = self._limiter.add(samples, is_last)
        if self._resampler:
            samples = self._resampler.resample_chunk(samples, last=is_last)
        if self._dither:
            samples = self._dither(samples)
        self._waveform.add(samples)
        return self._encoder.write(samples)
