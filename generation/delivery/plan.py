"""What a request asks of the delivery of its track: checked, and done to the samples and the file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from contract import KEEPS_SOURCE, BitDepth, GenerateRequest
from core.errors import Refusal
from generation import encode
from generation.delivery.loop import Loop, loop_of
from generation.delivery.loudness import MAX_TRUE_PEAK, MIN_SECONDS, at_loudness, loudness
from generation.delivery.riff import loop_chunks, with_chunks
from generation.delivery.tempo_tags import (
    id3,
    id3_frames,
    vorbis_comments,
    with_flac_comments,
    with_id3_frames,
    with_opus_comments,
)
from generation.delivery.true_peak import Samples, limiter_gain, true_peaks
from generation.editing.preparation import Edit
from generation.editing.splice import splice
from generation.encode import LOSSY, SAMPLE_BYTES, Part, Sound, as_floats
from generation.provenance import Provenance
from generation.waveform import waveform
from models.dither import dithered
from preprocessing.decoders import SampleFormat
from runners.messages import PcmFormat, TrackAnswer

_SAMPLE_FORMATS: Mapping[BitDepth, SampleFormat] = {"16": "int16", "24": "int24", "32f": "float32"}
_BITS: Mapping[SampleFormat, int] = {"int16": 16, "int24": 24}
# How often a lossy file is encoded to meet a loudness and a true peak.
_MAX_ENCODINGS = 8
# How often its loudness is corrected meanwhile; after that, only its peaks are.
_MAX_CORRECTIONS = 6
_TOLERANCE_DB = 0.2
_HEADROOM = 10 ** (0.1 / 20)


@dataclass(frozen=True)
class Delivered:
    """A finished file.

    Attributes:
        file: the encoded audio.
        sample_rate: the file's, in Hz.
        seconds: duration.
        waveform: see `generation.waveform`.
    """

    file: bytes
    sample_rate: int
    seconds: float
    waveform: bytes


def check(request: GenerateRequest) -> None:
    """Refuse (400) what does not go together, before anything is prepared."""
    name = request.output_format
    if request.bit_depth and name in LOSSY:
        raise Refusal(400, f"bit_depth: {name} has none; leave it out, or send output_format: wav or flac")
    if request.bit_depth == "32f" and name != "wav":
        raise Refusal(400, f"bit_depth: {name} has 16 or 24; send one of these, or output_format: wav")
    if request.loop and request.task != "text":
        raise Refusal(400, f"loop: {request.task} cannot make one; leave it out, or send task: text")
    if request.loudness is not None and request.task in KEEPS_SOURCE:
        raise Refusal(400, f"loudness: {request.task} keeps the source as loud as it is; leave it out")
    if request.loudness is not None and request.task == "text" and request.duration_seconds < MIN_SECONDS:
        raise Refusal(
            400, f"loudness: less than {MIN_SECONDS:g} s has none; leave it out, or send more duration_seconds"
        )


@dataclass(frozen=True)
class Delivery:
    """The delivery of one request.

    Attributes:
        request: the HTTP request.
        sample_format: of the file; lossy formats have none.
        edit: the edit, if there is one.
        loop: the loop, if one was asked for.
    """

    request: GenerateRequest
    sample_format: SampleFormat
    edit: Edit | None
    loop: Loop | None

    @property
    def pcm(self) -> PcmFormat:
        """The samples that the runner has to answer."""
        exact = self._keeps_source or self.loop or self.request.loudness is not None or self.sample_format != "int16"
        return "float32" if exact else "int16"

    def deliver(self, track: TrackAnswer, provenance: Provenance) -> Delivered:
        """The file of a runner's track."""
        sound = Sound.of(track)
        if self.edit and self._keeps_source:
            sound = splice(self.edit.source, sound, self.edit.window)
            parts = [as_floats(part) for part in sound.parts]
            parts[1::2] = map(self._dithered, parts[1::2])  # the source's own samples and new ones take turns
            return self._file(parts, sound.sample_rate, provenance)
        if self.pcm == "int16":
            return self._file(sound.parts, sound.sample_rate, provenance)
        sound = encode.resampled(sound, self.request.output_format)
        samples, rate = sound.floats(), sound.sample_rate
        if self.loop:
            samples = self.loop.cut(samples, rate)
        if self.request.loudness is None:
            return self._file((self._dithered(samples),), rate, provenance)
        return self._at_loudness(samples, rate, self.request.loudness, provenance)

    @property
    def dither_bits(self) -> int | None:
        """The bits of the file's samples, if the model's floats are rounded to them."""
        return None if self.request.output_format in LOSSY else _BITS.get(self.sample_format)

    @property
    def _keeps_source(self) -> bool:
        return self.edit is not None and self.edit.keeps_outside

    def _at_loudness(self, samples: Samples, rate: int, target: float, provenance: Provenance) -> Delivered:
        """The file at the target. A codec changes level and peaks, so its file is heard, and made again if need be."""
        aim, relief = target, np.ones((len(samples), 1), np.float32)
        for encoding in range(_MAX_ENCODINGS):
            louder = at_loudness(samples, rate, aim, circular=self.loop is not None) * relief
            delivered = self._file((self._dithered(louder),), rate, provenance, at_level=True)
            if self.request.output_format not in LOSSY:
                return delivered
            peaks, off = self._heard(delivered, target)
            is_over = peaks.max() > MAX_TRUE_PEAK
            if not is_over and abs(off) <= _TOLERANCE_DB:
                return delivered
            if encoding < _MAX_CORRECTIONS:
                aim += off
            if is_over:
                relief *= self._relief(peaks, rate, len(samples))
        # Some sounds a codec answers with peaks wherever they are turned down; they become quieter as a whole.
        while peaks.max() > MAX_TRUE_PEAK:
            louder = louder * np.float32(MAX_TRUE_PEAK / _HEADROOM / peaks.max())
            delivered = self._file((louder,), rate, provenance, at_level=True)
            peaks, _ = self._heard(delivered, target)
        return delivered

    def _heard(self, delivered: Delivered, target: float) -> tuple[NDArray[np.float32], float]:
        """A lossy file's true peaks, and how many decibels it lacks to the target."""
        samples = encode.decoded(delivered.file, self.request.output_format)
        found = loudness(samples, delivered.sample_rate)
        return true_peaks(samples), 0.0 if found is None else target - found

    def _relief(self, peaks: NDArray[np.float32], rate: int, frames: int) -> NDArray[np.float32]:
        """The gain of each frame, `[frames, 1]`, that turns down those at which a decoded file is over the limit."""
        within = np.pad(peaks[:frames], (0, max(0, frames - len(peaks))))
        return limiter_gain(within, MAX_TRUE_PEAK / _HEADROOM, rate, circular=self.loop is not None)[:, None]

    def _dithered(self, samples: Samples) -> Samples:
        """The samples as the file holds them, dithered if it has fewer bits."""
        return dithered(samples, self.dither_bits, self.request.seed) if self.dither_bits else samples

    def _file(self, parts: Sequence[Part], rate: int, provenance: Provenance, at_level: bool = False) -> Delivered:
        sound = Sound(parts, rate, self.sample_format)
        file, rate = encode.encode(sound, self.request.output_format, provenance, at_level)
        if self.loop:
            file = self._with_tempo(file, self.loop, sound)
        return Delivered(file, rate, sound.seconds, waveform(sound))

    def _with_tempo(self, file: bytes, loop: Loop, sound: Sound) -> bytes:
        """The file with tempo and key in its tags, and a WAV file with the chunks of a loop."""
        key = self.request.key
        if self.request.output_format == "wav":
            tags = {b"id3 ": id3(id3_frames(loop.bpm, key))}
            return with_chunks(file, loop_chunks(loop, key, sound.frames, sound.sample_rate) | tags)
        if self.request.output_format == "mp3":
            return with_id3_frames(file, id3_frames(loop.bpm, key))
        comments = vorbis_comments(loop.bpm, key)
        if self.request.output_format == "flac":
            return with_flac_comments(file, comments)
        if self.request.output_format == "opus":
            return with_opus_comments(file, comments)
        return file


def plan(request: GenerateRequest, bpm: int | None, longest: float, backend: str, edit: Edit | None) -> Delivery:
    """The delivery of a request.

    Args:
        bpm: the tempo that the model is asked for.
        longest: the seconds that the backend makes at most.

    Raises:
        Refusal: 400, there is no tempo for a loop, or a bit depth cannot hold the source's samples.
    """
    loop = loop_of(request, bpm, longest, backend) if request.loop else None
    return Delivery(request, _sample_format(request, edit), edit, loop)


def _sample_format(request: GenerateRequest, edit: Edit | None) -> SampleFormat:
    kept = edit.source.sample_format if edit and edit.keeps_outside else "int16"
    if kept == "float32" and request.output_format == "flac":
        kept = "int24"  # the most that FLAC holds
    if request.bit_depth is None or request.output_format in LOSSY:
        return kept
    asked = _SAMPLE_FORMATS[request.bit_depth]
    if SAMPLE_BYTES[asked] < SAMPLE_BYTES[kept]:
        depth = next(each for each, sample_format in _SAMPLE_FORMATS.items() if sample_format == kept)
        raise Refusal(
            400,
            f"bit_depth: {request.task} keeps the source's samples, which need {depth}; send that, or leave it out",
        )
    return asked
