"""Decoders of clean streams: libsndfile for PCM, Vorbis and Opus, FFmpeg for the rest.

MP3s go to FFmpeg, as libsndfile guesses the length of one without an index, and truncates it there.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import chain
from typing import Any, Literal, Protocol

import av
import numpy as np
import soundfile
from numpy.typing import NDArray

from preprocessing.containers.base import BadAudio, Demuxed, Frames, OggFile, Pcm, Stream, View

Samples = NDArray[np.float32]  # (frames, channels); full scale is ±1
# The smallest format of a file that holds a stream's samples without loss; int16 for lossy streams.
SampleFormat = Literal["int16", "int24", "float32"]

BLOCK_FRAMES = 65_536  # frames
MAX_PADDING = 4_096  # frames that an encoder may add to fill its last packet
MAX_BROKEN_SHARE = 0.1  # of the packets; MP3s with a broken frame or two are common, and play everywhere
_BROKEN_TO_GIVE_UP = 1000  # packets beyond MAX_BROKEN_SHARE at which decoding stops early
_READ_BYTES = 65_536
_WIDE_SUBTYPES: dict[str, SampleFormat] = {
    "PCM_24": "int24",
    "PCM_32": "float32",
    "FLOAT": "float32",
    "DOUBLE": "float32",
}
# FFmpeg decodes integers of 17 to 32 bits to these; lossless codecs of 32 bits are rare.
_WIDE_FRAMES = ("s32", "s32p")

ERRORS = (soundfile.SoundFileError, av.FFmpegError, ValueError)


class Decoder(Protocol):
    """Decodes one stream.

    Attributes:
        sample_format: the smallest one that holds its samples.
        seconds: length by the stream's header.
        exact: whether that length is reliable.
    """

    sample_rate: int
    channels: int
    sample_format: SampleFormat
    seconds: float
    exact: bool

    def blocks(self) -> Iterator[Samples]:
        """All samples, about BLOCK_FRAMES frames at a time; to be called once. Raises BadAudio or one of ERRORS."""

    def check_end(self) -> Samples:
        """The last second, or nothing if finding it means decoding everything. Raises BadAudio if it is missing."""


def decoder(stream: Stream) -> Decoder:
    """The decoder for a stream. Raises BadAudio or one of ERRORS."""
    stream.view.seek(0)
    if isinstance(stream, Pcm):
        return _Pcm(stream)
    if isinstance(stream, OggFile):
        return _OggFile(stream)
    if isinstance(stream, Frames):
        return _Frames(stream)
    return _Demuxed(stream)


class _Buffered(io.BufferedReader):
    """A buffer for libsndfile, which reads a few kilobytes at a time.

    A seek to before the start, which libsndfile attempts on damaged headers, has no effect.
    """

    def __init__(self, view: View) -> None:
        super().__init__(view.again(), _READ_BYTES)  # a copy, as it is closed with the buffer
        self._size = view.size

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = 0 if whence == io.SEEK_SET else self.tell() if whence == io.SEEK_CUR else self._size
        return super().seek(base + offset) if base + offset >= 0 else self.tell()


class _Sndfile:
    def __init__(self, file: soundfile.SoundFile, exact: bool) -> None:
        self._file = file
        self.sample_rate: int = file.samplerate
        self.channels: int = file.channels
        self.sample_format: SampleFormat = _WIDE_SUBTYPES.get(file.subtype, "int16")
        self.exact = exact
        self._frames: int = file.frames if file.frames < 1e9 * self.sample_rate else 0
        self.seconds = self._frames / self.sample_rate

    def blocks(self) -> Iterator[Samples]:
        done = 0
        # 16-bit samples are read faster as integers, and give the same floats.
        plain = self._file.subtype == "PCM_16"
        block = np.empty((BLOCK_FRAMES, self.channels), np.int16 if plain else np.float32)
        while count := self._file.buffer_read_into(block, "int16" if plain else "float32"):
            done += count
            yield block[:count] * np.float32(1 / 32768) if plain else block[:count].copy()
        if self.exact and done < self._frames - self.sample_rate:
            raise BadAudio(_truncated(self.seconds, done / self.sample_rate))

    def check_end(self) -> Samples:
        if not self._frames:
            return np.empty((0, self.channels), np.float32)
        self._file.seek(max(0, self._frames - self.sample_rate))
        last: Samples = self._file.read(self.sample_rate, dtype="float32", always_2d=True)
        if self.exact and not len(last):
            raise BadAudio(_truncated(self.seconds))
        return last


class _Pcm(_Sndfile):
    def __init__(self, stream: Pcm) -> None:
        file = soundfile.SoundFile(
            _Buffered(stream.view),
            samplerate=stream.rate,
            channels=stream.channels,
            subtype=stream.subtype,
            endian=stream.endian,
            format="RAW",
        )
        super().__init__(file, exact=True)


class _OggFile(_Sndfile):
    def __init__(self, stream: OggFile) -> None:
        super().__init__(soundfile.SoundFile(_Buffered(stream.view)), stream.exact)


class _FFmpeg:
    """Decodes by FFmpeg. Rate and channels are those of the first frame.

    Args:
        delay: frames to drop at the beginning.
    """

    def __init__(self, delay: int = 0) -> None:
        self._delay = delay
        self.sample_format: SampleFormat = "int16"
        frames = self._decoded()
        first = next(frames, None)
        if first is None:
            raise BadAudio("there is no sound in it")
        self.sample_rate: int = first.sample_rate
        self.channels: int = first.layout.nb_channels
        self._decoded_frames = chain([first], frames)

    def _packets(self) -> Iterator[Any]:
        raise NotImplementedError

    def _decode(self, packet: Any) -> list[Any]:
        raise NotImplementedError

    def _trim(self, decoded: int) -> int:
        """How many of the `decoded` frames to drop at the end, at most MAX_PADDING."""
        raise NotImplementedError

    def blocks(self) -> Iterator[Samples]:
        # Joins the codec's frames, of about a thousand samples each, outside Python.
        gathered: Any = av.AudioFifo()
        decoded = 0
        for frame in self._decoded_frames:
            # AudioFifo would read beyond a frame with fewer channels.
            if frame.layout.nb_channels != self.channels or frame.sample_rate != self.sample_rate:
                raise BadAudio("its sample rate or number of channels changes midway; save it as a WAV file")
            decoded += frame.samples
            frame.pts = None
            gathered.write(frame)
            if gathered.samples >= self._delay + BLOCK_FRAMES + MAX_PADDING:
                yield self._take(gathered, BLOCK_FRAMES)
        rest = self._take(gathered, 0)
        trim = self._trim(decoded)
        if len(rest):
            yield rest[: len(rest) - trim]

    def _take(self, gathered: Any, frames: int) -> Samples:
        """`frames` frames from the fifo (0 for all), after the delay."""
        if self._delay and gathered.samples:
            gathered.read(min(self._delay, gathered.samples))
            self._delay = 0
        block = gathered.read(frames) if gathered.samples else None
        return np.empty((0, self.channels), np.float32) if block is None else block.to_ndarray().T

    def _decoded(self) -> Iterator[Any]:
        """The codec's frames as planar floats. A few broken packets are skipped, as players do; many are an error."""
        to_planes = av.AudioResampler(format="fltp")
        packets = broken = 0
        for packet in self._packets():
            packets += 1
            try:
                frames = self._decode(packet)
            except av.InvalidDataError:
                broken += 1
                if broken > _BROKEN_TO_GIVE_UP + packets * MAX_BROKEN_SHARE:
                    break
                continue
            for frame in frames:
                if frame.format.name in _WIDE_FRAMES:
                    self.sample_format = "int24"
                if frame.format.name == "fltp":
                    yield frame
                else:
                    yield from to_planes.resample(frame)
        if broken > 1 + packets * MAX_BROKEN_SHARE:
            raise BadAudio(f"it is damaged: {broken} of its {packets} packets cannot be decoded")


class _Frames(_FFmpeg):
    def __init__(self, stream: Frames) -> None:
        self._stream = stream
        self._codec: Any = av.CodecContext.create(stream.codec, "r")
        super().__init__(stream.delay)
        self.exact = stream.frames is not None
        self.seconds = stream.seconds - (stream.delay + stream.padding) / self.sample_rate

    def check_end(self) -> Samples:
        return np.empty((0, self.channels), np.float32)

    def _packets(self) -> Iterator[Any]:
        while data := self._stream.view.read(_READ_BYTES):
            yield from self._codec.parse(data)
        yield from self._codec.parse(None)
        yield None

    def _decode(self, packet: Any) -> list[Any]:
        return self._codec.decode(packet)

    def _trim(self, decoded: int) -> int:
        counted = self._stream.frames is not None and abs(self.seconds * self.sample_rate - decoded) < 2 * MAX_PADDING
        return self._stream.padding if counted else 0


class _Demuxed(_FFmpeg):
    def __init__(self, stream: Demuxed) -> None:
        # The format is fixed: probing would try playlists, which name other files.
        self._container: Any = av.open(stream.view, format=stream.demuxer, metadata_errors="ignore")
        if not self._container.streams.audio:
            raise BadAudio("there is no audio track in it")
        self._track: Any = self._container.streams.audio[0]
        self.exact = stream.demuxer in ("mov", "flac")
        self.seconds = float((self._track.duration or 0) * (self._track.time_base or 0))
        super().__init__()

    def check_end(self) -> Samples:
        if not self.exact or not self.seconds:
            return np.empty((0, self.channels), np.float32)
        wanted = max(0.0, self.seconds - 1) / self._track.time_base
        self._container.seek(int(wanted), stream=self._track)
        frame = next(self._decoded(), None)
        if frame is None or (frame.time or self.seconds) < self.seconds - 2:
            raise BadAudio(_truncated(self.seconds))
        return frame.to_ndarray().T

    def _packets(self) -> Iterator[Any]:
        yield from self._container.demux(self._track)

    def _decode(self, packet: Any) -> list[Any]:
        return packet.decode()

    def _trim(self, decoded: int) -> int:
        if not self.exact or not self.seconds:
            return 0
        beyond = decoded - round(self.seconds * self.sample_rate)
        if -beyond > self.sample_rate:
            raise BadAudio(_truncated(self.seconds, decoded / self.sample_rate))
        return beyond if 0 < beyond <= MAX_PADDING else 0


def _truncated(expected: float, found: float | None = None) -> str:
    missing = "its end" if found is None else f"all after {found:.1f} s"
    return f"it is cut off: it should be {expected:.1f} s long, but {missing} is missing; send the whole file"
