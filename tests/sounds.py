"""Sounds as samples, and as files of every format that is read."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile
from numpy.typing import NDArray

Sound = NDArray[np.float64]  # (frames, channels)

RATE = 44_100
# One step of 16 bits: a row among others may be rounded otherwise than alone, where MKL has no reproducible kernels.
MAX_ROUNDING = 1.01 / 2**15


def chord(seconds: float, rate: int = RATE, channels: int = 2, level: float = 0.25) -> Sound:
    """A chord of three sines, quieter on each further channel. Returns an array (frames, channels)."""
    time = np.arange(round(seconds * rate)) / rate
    sines = sum(np.sin(2 * np.pi * pitch * time) for pitch in (220, 277.2, 330)) / 3
    return level * np.outer(sines, 0.8 ** np.arange(channels))


def written(sound: Sound, rate: int = RATE, format: str = "WAV", **options: Any) -> bytes:
    """The sound as a file, written by libsndfile."""
    file = io.BytesIO()
    soundfile.write(file, sound, rate, format=format, **options)
    return file.getvalue()


def encoded(
    sound: Sound, codec: str, container: str, rate: int = RATE, options: dict[str, str] | None = None, **track: Any
) -> bytes:
    """The sound, of one or two channels, as a file that FFmpeg wrote."""
    layout = "mono" if sound.shape[1] == 1 else "stereo"
    with tempfile.NamedTemporaryFile() as file, av.open(file.name, "w", container, options=options or {}) as output:
        stream: Any = output.add_stream(codec, rate=rate, layout=layout, **track)
        fifo, made = av.AudioFifo(), 0
        floats = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound.T, np.float32), format="fltp", layout=layout)
        floats.sample_rate = rate
        for frame in av.AudioResampler(format=stream.codec_context.format.name, layout=layout).resample(floats):
            frame.pts = None
            fifo.write(frame)
        size = stream.codec_context.frame_size or 1024
        while fifo.samples:
            part: Any = fifo.read(min(size, fifo.samples))
            part.pts, part.sample_rate = made, rate
            made += part.samples
            output.mux(stream.encode(part))
        output.mux(stream.encode(None))
        output.close()
        return Path(file.name).read_bytes()


def chunk(name: bytes, content: bytes, order: Any = "little", size: int | None = None, padded: bool = True) -> bytes:
    """A RIFF or AIFF chunk. `size`: a wrong size to write in its header."""
    length = len(content) if size is None else size
    return name + length.to_bytes(4, order) + content + bytes(len(content) % 2 if padded else 0)


def pcm16(sound: Sound, order: str = "<") -> bytes:
    return np.round(sound * 32_767).astype(f"{order}i2").tobytes()


def format_chunk(channels: int = 2, rate: int = RATE, bits: int = 16, tag: int = 1) -> bytes:
    """The `fmt ` chunk of a WAV file."""
    align = channels * bits // 8
    numbers = ((tag, 2), (channels, 2), (rate, 4), (rate * align, 4), (align, 2), (bits, 2))
    return chunk(b"fmt ", b"".join(value.to_bytes(width, "little") for value, width in numbers))


def wav_of(*chunks: bytes, size: int | None = None) -> bytes:
    """A WAV file of these chunks. `size`: a wrong size to write in its header."""
    body = b"WAVE" + b"".join(chunks)
    return b"RIFF" + (len(body) if size is None else size).to_bytes(4, "little") + body


def id3(content: bytes, version: int = 4, flags: int = 0) -> bytes:
    """An ID3v2 tag around the frames in `content`."""
    length = bytes(len(content) >> shift & 127 for shift in (21, 14, 7, 0))
    return b"ID3" + bytes([version, 0, flags]) + length + content


@cache
def kinds(seconds: float = 3.0) -> dict[str, bytes]:
    """A chord as a file of each format."""
    stereo, wide = chord(seconds), chord(seconds, 48_000)
    make: dict[str, Callable[[], bytes]] = {
        "wav 8 bit": lambda: written(stereo, subtype="PCM_U8"),
        "wav 16 bit": lambda: written(stereo),
        "wav 24 bit": lambda: written(stereo, subtype="PCM_24"),
        "wav 32 bit": lambda: written(stereo, subtype="PCM_32"),
        "wav float": lambda: written(stereo, subtype="FLOAT"),
        "wav double": lambda: written(stereo, subtype="DOUBLE"),
        "wav mu-law": lambda: written(stereo, subtype="ULAW"),
        "wav a-law": lambda: written(stereo, subtype="ALAW"),
        "wav ms adpcm": lambda: written(stereo, subtype="MS_ADPCM"),
        "wav ima adpcm": lambda: written(stereo, subtype="IMA_ADPCM"),
        "wav 64 bit": lambda: encoded(stereo, "pcm_s64le", "wav"),
        "wav mp3": lambda: encoded(stereo, "libmp3lame", "wav"),
        "wav extensible": lambda: written(chord(seconds, channels=6), format="WAVEX", subtype="PCM_24"),
        "wav 32 channels": lambda: written(chord(seconds, channels=32)),
        "rifx": lambda: written(stereo, endian="BIG"),
        "rf64": lambda: written(stereo, format="RF64", subtype="PCM_24"),
        "w64": lambda: written(stereo, format="W64"),
        "aiff": lambda: written(stereo, format="AIFF"),
        "aifc little": lambda: written(stereo, format="AIFF", endian="LITTLE"),
        "aifc float": lambda: written(stereo, format="AIFF", subtype="FLOAT"),
        "aifc ima4": lambda: encoded(stereo, "adpcm_ima_qt", "aiff"),
        "caf": lambda: written(stereo, format="CAF", subtype="PCM_24"),
        "caf alac": lambda: written(stereo, format="CAF", subtype="ALAC_16"),
        "flac": lambda: written(stereo, format="FLAC"),
        "flac 24 bit": lambda: written(stereo, format="FLAC", subtype="PCM_24"),
        "vorbis": lambda: written(stereo, format="OGG"),
        "opus": lambda: written(wide, 48_000, "OGG", subtype="OPUS"),
        "ogg flac": lambda: encoded(stereo, "flac", "ogg"),
        "mp3": lambda: written(stereo, format="MP3"),
        "mp3 without index": lambda: encoded(stereo, "libmp3lame", "mp3", options={"write_xing": "0"}),
        "mp3 mono": lambda: written(chord(seconds, channels=1), format="MP3"),
        "mp3 mpeg-2": lambda: written(chord(seconds, 22_050), 22_050, "MP3"),
        "mp3 mpeg-2.5": lambda: encoded(chord(seconds, 8_000), "libmp3lame", "mp3", 8_000),
        "mp2": lambda: encoded(stereo, "mp2", "mp2"),
        "aac": lambda: encoded(stereo, "aac", "adts"),
        "m4a": lambda: encoded(stereo, "aac", "ipod"),
        "m4a moov first": lambda: encoded(stereo, "aac", "ipod", options={"movflags": "+faststart"}),
        "m4a fragments": lambda: encoded(stereo, "aac", "mp4", options={"movflags": "frag_keyframe+empty_moov"}),
        "m4a alac": lambda: encoded(stereo, "alac", "ipod"),
        "mp4 opus": lambda: encoded(wide, "libopus", "mp4", 48_000),
        "mov pcm": lambda: encoded(stereo, "pcm_s24le", "mov"),
    }
    return {name: kind() for name, kind in make.items()}
