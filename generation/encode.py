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
from generation.provenance import Provenance
from preprocessing.decoders import SampleFormat
from runners.messages import TrackAnswer

MEDIA_TYPES = {
    "wav": "audio/wav",
    "flac": "audio/flac",
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
}
# libsndfile's container, and its subtype where that does not follow from the samples.
_SOUNDFILE: Mapping[OutputFormat, tuple[str, str | None]] = {
    "wav": ("WAV", None),
    "flac": ("FLAC", None),
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "opus": ("OGG", "OPUS"),
}
_SUBTYPES: Mapping[SampleFormat, str] = {"int16": "PCM_16", "int24": "PCM_24", "float32": "FLOAT"}
_SAMPLE_FORMATS: Mapping[str, SampleFormat] = {subtype: name for name, subtype in _SUBTYPES.items()}
SAMPLE_BYTES: Mapping[SampleFormat, int] = {"int16": 2, "int24": 3, "float32": 4}
_LOSSY = ("mp3", "opus")
_RATES: Mapping[OutputFormat, Sequence[int]] = {
    "opus": (8_000, 12_000, 16_000, 24_000, 48_000),
    "mp3": (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000),
}
_BLOCK_FRAMES = 65_536
# The peak to which a lossy file that clips is turned down.
_MAX_PEAK = 0.95


@dataclass(frozen=True)
class Sound:
    """Samples to encode.

    Attributes:
        parts: the samples one after the other, each (frames, channels), as int16 or as float32 with full scale ±1.
        sample_rate: in Hz.
        sample_format: of a WAV or FLAC file; FLAC has 24 bits for `float32`.
    """

    parts: Sequence[NDArray[np.int16] | NDArray[np.float32]]
    sample_rate: int
    sample_format: SampleFormat = "int16"

    @classmethod
    def of(cls, track: TrackAnswer) -> Sound:
        """A runner's track."""
        return cls((np.frombuffer(track.pcm, dtype="<i2").reshape(-1, track.channels),), track.sample_rate)

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
        samples = np.concatenate([_as_floats(part) for part in self.parts]) if len(self.parts) > 1 else self.parts[0]
        return _as_floats(samples[start:end])


def encode(sound: Sound, output_format: OutputFormat, provenance: Provenance) -> tuple[bytes, int]:
    """Encode a track, with its provenance as tags.

    Returns:
        The file, and its sample rate: the track's own, or 48 kHz if the format does not support that. `wav` and `flac`
        hold samples of the sound's format.
    """
    return _encode(sound, output_format, provenance.tags(output_format))


def transcode(file: Path, output_format: OutputFormat) -> bytes:
    """Convert a stored WAV or FLAC file to another format, with its tags."""
    with soundfile.SoundFile(file) as stored:
        tags = {name: text for name, text in stored.copy_metadata().items() if text}
        sample_format = _SAMPLE_FORMATS.get(stored.subtype, "int16")
        samples = stored.read(dtype="int16" if sample_format == "int16" else "float32", always_2d=True)
        sound = Sound((samples,), stored.samplerate, sample_format)
    if output_format == "mp3" and "date" in tags:
        tags["date"] = tags["date"][:4]  # LAME writes the ID3 field for a year
    return _encode(sound, output_format, tags)[0]


def _encode(sound: Sound, output_format: OutputFormat, tags: dict[str, str]) -> tuple[bytes, int]:
    rates = _RATES.get(output_format)
    if rates and sound.sample_rate not in rates:
        import soxr

        resampled = soxr.resample(sound.floats(), sound.sample_rate, 48_000, quality="HQ")
        sound = Sound((resampled,), 48_000)
    file = _write(sound, output_format, tags)
    if output_format in _LOSSY:
        # Lossy compression can raise the peaks above full scale.
        peak = np.abs(soundfile.read(io.BytesIO(file), dtype="float32")[0]).max()
        if peak > 1:
            quieter = sound.floats() * np.float32(_MAX_PEAK / peak)
            file = _write(Sound((quieter,), sound.sample_rate), output_format, tags)
    return file, sound.sample_rate


def _write(sound: Sound, output_format: OutputFormat, tags: dict[str, str]) -> bytes:
    container, subtype = _SOUNDFILE[output_format]
    buffer = io.BytesIO()
    sample_format = sound.sample_format if output_format not in _LOSSY else "int16"
    if output_format == "flac" and sample_format == "float32":
        sample_format = "int24"
    with soundfile.SoundFile(
        buffer, "w", sound.sample_rate, sound.channels, subtype or _SUBTYPES[sample_format], format=container
    ) as file:
        for name, text in tags.items():
            setattr(file, name, text)
        for part in sound.parts:
            for start in range(0, len(part), _BLOCK_FRAMES):
                file.write(_as_stored(part[start : start + _BLOCK_FRAMES], sample_format))
    return buffer.getvalue()


def _as_stored(
    samples: NDArray[np.int16] | NDArray[np.float32], sample_format: SampleFormat
) -> NDArray[np.int16] | NDArray[np.int32] | NDArray[np.float32]:
    """Samples as libsndfile writes them unchanged: 24 bits are the upper ones of 32."""
    if samples.dtype != np.float32 or sample_format == "float32":
        return samples
    scale = 2**15 if sample_format == "int16" else 2**23
    whole = np.clip(np.rint(samples * np.float32(scale)), -scale, scale - 1)
    return whole.astype(np.int16) if sample_format == "int16" else whole.astype(np.int32) << 8


def _as_floats(samples: NDArray[np.int16] | NDArray[np.float32]) -> NDArray[np.float32]:
    floats = samples.astype(np.float32, copy=False)
    return floats if samples.dtype == np.float32 else floats * np.float32(1 / 32768)
