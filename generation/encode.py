"""Audio files: encoding samples, and converting stored files."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from contract import OutputFormat
from generation.delivery import m4a
from generation.provenance import Provenance
from models.dither import dithered
from preprocessing.decoders import SampleFormat
from runners.messages import TrackAnswer

MEDIA_TYPES = {
    "wav": "audio/wav",
    "flac": "audio/flac",
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "m4a": "audio/mp4",
}
LOSSY: tuple[OutputFormat, ...] = ("mp3", "opus", "m4a")
# libsndfile's container, and its subtype where that does not follow from the samples.
SOUNDFILE: Mapping[OutputFormat, tuple[str, str | None]] = {
    "wav": ("WAV", None),
    "flac": ("FLAC", None),
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "opus": ("OGG", "OPUS"),
}
SUBTYPES: Mapping[SampleFormat, str] = {"int16": "PCM_16", "int24": "PCM_24", "float32": "FLOAT"}
_SAMPLE_FORMATS: Mapping[str, SampleFormat] = {subtype: name for name, subtype in SUBTYPES.items()}
SAMPLE_BYTES: Mapping[SampleFormat, int] = {"int16": 2, "int24": 3, "float32": 4}
_RATES: Mapping[OutputFormat, Sequence[int]] = {
    "opus": (8_000, 12_000, 16_000, 24_000, 48_000),
    "mp3": (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000),
    "m4a": m4a.RATES,
}
Part = NDArray[np.int16] | NDArray[np.float32]  # (frames, channels); the full scale of floats is ±1
_BLOCK_FRAMES = 65_536
# The peak to which a lossy file that clips is turned down.
_MAX_PEAK = 0.95


@dataclass(frozen=True)
class Sound:
    """Samples to encode.

    Attributes:
        parts: the samples one after the other.
        sample_rate: in Hz.
        sample_format: of a WAV or FLAC file; FLAC has 24 bits for `float32`.
    """

    parts: Sequence[Part]
    sample_rate: int
    sample_format: SampleFormat = "int16"

    @classmethod
    def of(cls, track: TrackAnswer) -> Sound:
        """A runner's track."""
        dtype = {"int16": "<i2", "float32": "<f4"}[track.sample_format]
        samples = np.frombuffer(track.pcm, dtype).reshape(-1, track.channels)
        return cls((samples,), track.sample_rate, track.sample_format)

    @property
    def channels(self) -> int:
        return int(self.parts[0].shape[1])

    @property
    def frames(self) -> int:
        return sum(map(len, self.parts))

    @property
    def seconds(self) -> float:
        return self.frames / self.sample_rate

    def floats(self, start: int = 0, end: int | None = None) -> NDArray[np.float32]:
        """The frames from `start` to `end` as floats."""
        samples = np.concatenate([as_floats(part) for part in self.parts]) if len(self.parts) > 1 else self.parts[0]
        return as_floats(samples[start:end])


def encode(
    sound: Sound, output_format: OutputFormat, provenance: Provenance, at_level: bool = False
) -> tuple[bytes, int]:
    """Encode a track, with its provenance as tags.

    Args:
        at_level: leave a lossy file as loud as the sound, even if it clips.

    Returns:
        The file, and its sample rate: the track's own, or 48 kHz if the format does not support that. `wav` and `flac`
        hold samples of the sound's format.
    """
    return _encode(sound, output_format, provenance.tags(output_format), at_level)


def resampled(sound: Sound, output_format: OutputFormat) -> Sound:
    """The sound at 48 kHz if the format does not support its rate."""
    rate = resampled_rate(sound.sample_rate, output_format)
    if rate == sound.sample_rate:
        return sound
    import soxr

    return Sound((soxr.resample(sound.floats(), sound.sample_rate, rate, quality="HQ"),), rate)


def resampled_rate(sample_rate: int, output_format: OutputFormat) -> int:
    """The rate of a file whose samples have this rate: 48 kHz if the format does not support it."""
    rates = _RATES.get(output_format)
    return sample_rate if not rates or sample_rate in rates else 48_000


def decoded(file: bytes, output_format: OutputFormat) -> NDArray[np.float32]:
    """The samples of an encoded file, (frames, channels)."""
    if output_format == "m4a":
        return m4a.decode(file)
    return soundfile.read(io.BytesIO(file), dtype="float32", always_2d=True)[0]


def transcode(file: Path, output_format: OutputFormat) -> bytes:
    """Convert a stored WAV or FLAC file to another format, with its tags."""
    with soundfile.SoundFile(file) as stored:
        tags = {name: text for name, text in stored.copy_metadata().items() if text}
        sample_format = _SAMPLE_FORMATS.get(stored.subtype, "int16")
        samples = stored.read(dtype="int16" if sample_format == "int16" else "float32", always_2d=True)
        if output_format == "flac" and sample_format == "float32":
            samples = dithered(samples, 24, seed=0)
        sound = Sound((samples,), stored.samplerate, sample_format)
    if output_format == "mp3" and "date" in tags:
        tags["date"] = tags["date"][:4]  # LAME writes the ID3 field for a year
    return _encode(sound, output_format, tags)[0]


def _encode(
    sound: Sound, output_format: OutputFormat, tags: dict[str, str], at_level: bool = False
) -> tuple[bytes, int]:
    sound = resampled(sound, output_format)
    file = _write(sound, output_format, tags)
    if output_format in LOSSY and not at_level:
        # Lossy compression can raise the peaks above full scale.
        peak = np.abs(decoded(file, output_format)).max()
        if peak > 1:
            quieter = sound.floats() * np.float32(_MAX_PEAK / peak)
            file = _write(Sound((quieter,), sound.sample_rate), output_format, tags)
    return file, sound.sample_rate


def _write(sound: Sound, output_format: OutputFormat, tags: dict[str, str]) -> bytes:
    if output_format == "m4a":
        return m4a.encode(sound.floats(), sound.sample_rate, tags)
    container, subtype = SOUNDFILE[output_format]
    buffer = io.BytesIO()
    # Lossy encoders take floats, so no bits are dropped for them.
    sample_format = sound.sample_format if output_format not in LOSSY else "float32"
    if output_format == "flac" and sample_format == "float32":
        sample_format = "int24"
    with soundfile.SoundFile(
        buffer, "w", sound.sample_rate, sound.channels, subtype or SUBTYPES[sample_format], format=container
    ) as file:
        for name, text in tags.items():
            setattr(file, name, text)
        for part in sound.parts:
            for start in range(0, len(part), _BLOCK_FRAMES):
                file.write(as_stored(part[start : start + _BLOCK_FRAMES], sample_format))
    return buffer.getvalue()


def as_stored(
    samples: Part, sample_format: SampleFormat
) -> NDArray[np.int16] | NDArray[np.int32] | NDArray[np.float32]:
    """Samples as libsndfile writes them unchanged: 24 bits are the upper ones of 32."""
    if samples.dtype != np.float32 or sample_format == "float32":
        return samples
    scale = 2**15 if sample_format == "int16" else 2**23
    whole = np.clip(np.rint(samples * np.float32(scale)), -scale, scale - 1)
    return whole.astype(np.int16) if sample_format == "int16" else whole.astype(np.int32) << 8


def as_floats(samples: Part) -> NDArray[np.float32]:
    """The samples with a full scale of ±1."""
    floats = samples.astype(np.float32, copy=False)
    return floats if samples.dtype == np.float32 else floats * np.float32(1 / 32768)
