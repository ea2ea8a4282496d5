"""Encodes a track whose samples come piece by piece, to a file of which no byte changes later."""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import av
import numpy as np
import soundfile

from contract import OutputFormat
from generation.delivery import riff
from generation.delivery.tempo_tags import id3, tag_frames
from generation.delivery.true_peak import Samples
from generation.encode import LOSSY, SAMPLE_BYTES, SOUNDFILE, SUBTYPES, as_stored
from preprocessing.decoders import SampleFormat

_PCM, _FLOAT = 1, 3
_LITTLE_ENDIAN: Mapping[SampleFormat, str] = {"int16": "<i2", "int24": "<i4", "float32": "<f4"}
# The INFO chunks of tags by libsndfile's names.
_INFO = {"comment": b"ICMT", "genre": b"IGNR", "software": b"ISFT", "date": b"ICRD"}
_MP3_BIT_RATE_PER_CHANNEL = 96_000
# Of a FLAC file: where the eight bytes are whose last 36 bits are the number of frames, which is 0 where it is unknown.
_FLAC_FRAMES_AT = 18


@dataclass(frozen=True)
class Form:
    """The form of a file.

    Attributes:
        output_format: any that can be written in one go, so not `m4a`.
        sample_rate: in Hz.
        channels: 1 or 2.
        sample_format: of a WAV or FLAC file.
        frames: the number that will be written.
        tags: by libsndfile's names.
    """

    output_format: OutputFormat
    sample_rate: int
    channels: int
    sample_format: SampleFormat
    frames: int
    tags: Mapping[str, str]


class Encoder(Protocol):
    """Writes a file."""

    def write(self, samples: Samples) -> bytes:
        """The next bytes of the file, after more samples."""
        ...

    def close(self) -> bytes:
        """The last bytes of the file."""
        ...


def encoder(form: Form) -> Encoder:
    if form.output_format == "wav":
        return _Wav(form)
    return _Mp3(form) if form.output_format == "mp3" else _FlacOrOpus(form)


class _Wav:
    """A WAV file, whose header has the sizes from the start."""

    def __init__(self, form: Form) -> None:
        self._sample_format = form.sample_format
        width = SAMPLE_BYTES[form.sample_format]
        is_float = form.sample_format == "float32"
        frame = width * form.channels
        facts = (form.channels, form.sample_rate, form.sample_rate * frame, frame, 8 * width)
        info = {_INFO[name]: text.encode() + b"\0" for name, text in form.tags.items()}
        chunks = {b"fmt ": struct.pack("<HHIIHH", _FLOAT if is_float else _PCM, *facts)}
        if is_float:
            chunks[b"fact"] = struct.pack("<I", form.frames)
        chunks[b"LIST"] = b"INFO" + riff.encoded(info)
        self._data_bytes = form.frames * frame
        self._header = riff.header(chunks, self._data_bytes)

    def write(self, samples: Samples) -> bytes:
        data = as_stored(samples, self._sample_format).astype(_LITTLE_ENDIAN[self._sample_format]).tobytes()
        if self._sample_format == "int24":  # the upper bytes of 32 bits
            data = np.frombuffer(data, np.uint8).reshape(-1, 4)[:, 1:].tobytes()
        header, self._header = self._header, b""
        return header + data

    def close(self) -> bytes:
        return b"\0" * (self._data_bytes % 2)


class _Mp3:
    """An MP3 file by FFmpeg, since libsndfile's begins with a table of the whole file.

    It has a constant bit rate, so that players can tell its length without a table.
    """

    def __init__(self, form: Form) -> None:
        self._written = _Written()
        self._written.write(id3(tag_frames(form.tags)))
        options = {"write_xing": "0", "id3v2_version": "0", "flush_packets": "1"}
        self._container = av.open(self._written, "w", "mp3", options=options)
        self._layout = "stereo" if form.channels == 2 else "mono"
        self._stream = self._container.add_stream("libmp3lame", rate=form.sample_rate, layout=self._layout)
        self._stream.bit_rate = _MP3_BIT_RATE_PER_CHANNEL * form.channels
        self._rate, self._frames = form.sample_rate, 0

    def write(self, samples: Samples) -> bytes:
        if len(samples):
            block = np.ascontiguousarray(samples.T)
            frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=self._layout)
            frame.sample_rate, frame.pts = self._rate, self._frames
            self._frames += len(samples)
            self._container.mux(self._stream.encode(frame))
        return bytes(self._written.take())

    def close(self) -> bytes:
        self._container.mux(self._stream.encode(None))
        self._container.close()
        return bytes(self._written.take())


class _FlacOrOpus:
    """A file by libsndfile, which corrects FLAC's header at the end: here it has the length, and no MD5."""

    def __init__(self, form: Form) -> None:
        self._written = _Written()
        container, subtype = SOUNDFILE[form.output_format]
        self._sample_format = form.sample_format if form.output_format not in LOSSY else "float32"
        if form.output_format == "flac" and self._sample_format == "float32":
            self._sample_format = "int24"
        self._frames = form.frames if form.output_format == "flac" else 0
        self._file = soundfile.SoundFile(
            self._written,
            "w",
            form.sample_rate,
            form.channels,
            subtype or SUBTYPES[self._sample_format],
            format=container,
        )
        for name, text in form.tags.items():
            setattr(self._file, name, text)

    def write(self, samples: Samples) -> bytes:
        self._file.write(as_stored(samples, self._sample_format))
        return self._taken()

    def close(self) -> bytes:
        self._file.close()
        return self._taken()

    def _taken(self) -> bytes:
        taken = self._written.take()
        if self._frames and len(taken) > _FLAC_FRAMES_AT:
            (facts,) = struct.unpack_from(">Q", taken, _FLAC_FRAMES_AT)
            struct.pack_into(">Q", taken, _FLAC_FRAMES_AT, facts | self._frames)
            self._frames = 0
        return bytes(taken)


class _Written:
    """A file that is written, whose bytes are taken away as they come. Those that were taken cannot change."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._start = self._at = 0

    def take(self) -> bytearray:
        taken, self._bytes = self._bytes, bytearray()
        self._start += len(taken)
        return taken

    def write(self, data: bytes) -> int:
        offset = self._at - self._start
        if offset >= 0:
            self._bytes[offset : offset + len(data)] = data
        self._at += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        end = self._start + len(self._bytes)
        self._at = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: end}[whence] + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int = -1) -> bytes:
        raise OSError("the file is only written")
