"""Audio files: encoding a runner's samples, and converting stored files."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from contract import OutputFormat
from generation.provenance import Provenance
from runners.messages import TrackAnswer

MEDIA_TYPES = {
    "wav": "audio/wav",
    "flac": "audio/flac",
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
}
# libsndfile's container and subtype.
_SOUNDFILE = {
    "wav": ("WAV", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "opus": ("OGG", "OPUS"),
}
_LOSSY = ("mp3", "opus")
_OPUS_RATES = (8000, 12000, 16000, 24000, 48000)
# The peak to which a lossy file that clips is turned down.
_MAX_PEAK = 0.95


def encode(track: TrackAnswer, output_format: OutputFormat, provenance: Provenance) -> tuple[bytes, int]:
    """Encode a track, with its provenance as tags.

    Returns:
        The file, and its sample rate: the track's own, or 48 kHz for Opus if it does not support that rate. `wav` and
        `flac` hold 16-bit PCM.
    """
    samples = np.frombuffer(track.pcm, dtype="<i2").reshape(-1, track.channels)
    return _encode(samples, track.sample_rate, output_format, provenance.tags(output_format))


def transcode(file: Path, output_format: OutputFormat) -> bytes:
    """Convert a stored WAV or FLAC file to another format, with its tags."""
    with soundfile.SoundFile(file) as stored:
        tags = {name: text for name, text in stored.copy_metadata().items() if text}
        samples, rate = stored.read(dtype="int16", always_2d=True), stored.samplerate
    if output_format == "mp3" and "date" in tags:
        tags["date"] = tags["date"][:4]  # LAME writes the ID3 field for a year
    return _encode(samples, rate, output_format, tags)[0]


def _encode(
    samples: NDArray[np.int16], rate: int, output_format: OutputFormat, tags: dict[str, str]
) -> tuple[bytes, int]:
    container, subtype = _SOUNDFILE[output_format]
    if output_format == "opus" and rate not in _OPUS_RATES:
        import soxr

        samples, rate = soxr.resample(samples, rate, 48_000, quality="HQ"), 48_000
    file = _write(samples, rate, container, subtype, tags)
    if output_format in _LOSSY:
        # Lossy compression can raise the peaks above full scale.
        peak = np.abs(soundfile.read(io.BytesIO(file), dtype="float32")[0]).max()
        if peak > 1:
            file = _write((samples * (_MAX_PEAK / peak)).astype("<i2"), rate, container, subtype, tags)
    return file, rate


def _write(samples: NDArray[np.int16], rate: int, container: str, subtype: str, tags: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with soundfile.SoundFile(buffer, "w", rate, samples.shape[1], format=container, subtype=subtype) as file:
        for name, text in tags.items():
            setattr(file, name, text)
        file.write(samples)
    return buffer.getvalue()
