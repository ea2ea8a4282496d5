"""Any audio file as blocks of samples. The bytes decide what it is, not its name.

WAV, AIFF, FLAC, Ogg Vorbis and Opus are read by libsndfile, MP3, AAC and M4A by FFmpeg's libraries: libsndfile guesses
the length of an MP3 without an index, and cuts it there.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
import soundfile
from numpy.typing import NDArray

Samples = NDArray[np.float32]  # (frames, channels); full scale is ±1

BLOCK = 65_536  # frames
PADDING = 4_096  # frames; the most that an encoder adds to fill its last packet
MAX_SECONDS = 4 * 3600
MAX_CHANNELS = 32
RATES = range(4_000, 384_001)
# The longest file at twice the usual rate, in stereo: a small file of silence must not keep a core busy for an hour.
MAX_SAMPLES = MAX_SECONDS * 96_000 * 2
# 32-bit integers written as floats without scaling reach this; beyond it is no audio.
MAX_PEAK = 2.0**31
# MP3s with a broken frame or two are common, and play everywhere.
MAX_DAMAGE = 0.1


class BadAudio(Exception):
    """The bytes are not audio that can be used. The message completes the sentence "beat.wav: …"."""


@dataclass(frozen=True)
class AudioInfo:
    """`format` is one of wav aiff flac ogg opus mp3 m4a aac, and the usual file extension.

    `seconds` is what the file says of itself; for an MP3 or AAC without an index, an estimate.
    """

    format: str
    sample_rate: int
    channels: int
    seconds: float


def probe(path: Path) -> AudioInfo:
    """What the file is, from its header. Raises BadAudio if it is nothing that can be used."""
    with path.open("rb", buffering=0) as file, _decoder(file) as decoder:
        return decoder.info


def check_bytes(data: bytes) -> AudioInfo:
    """The same for bytes, of which the first and the last second are decoded as well. Quick, whatever the length."""
    return _check_ends(_Memory(data))


def check_file(file: io.FileIO) -> AudioInfo:
    """The same for a file."""
    file.seek(0)
    return _check_ends(file)


def _check_ends(file: BinaryIO | io.FileIO) -> AudioInfo:
    with _decoder(file) as decoder:  # type: ignore[arg-type]
        first = next(_checked(decoder.blocks(), decoder.info), None)
        if first is None:
            raise BadAudio("there is no sound in it")
        decoder.check_end()
        return decoder.info


def blocks(path: Path) -> Iterator[Samples]:
    """The file's samples, (up to about BLOCK, channels) at a time. Raises BadAudio at the first thing that is wrong."""
    with path.open("rb", buffering=0) as file, _decoder(file) as decoder:
        yield from _checked(decoder.blocks(), decoder.info)


class _Decoder(Protocol):
    info: AudioInfo

    def blocks(self) -> Iterator[Samples]: ...

    def check_end(self) -> None: ...


class _Memory(io.BytesIO):
    """Bytes as a file that stays where it is when sent before its start, as damaged headers make libsndfile do."""

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        try:
            return super().seek(offset, whence)
        except (ValueError, OverflowError):
            return self.tell()


class _Sndfile:
    def __init__(self, file: BinaryIO, name: str) -> None:
        if isinstance(file, io.FileIO):  # read by libsndfile itself, not through Python
            os.lseek(file.fileno(), 0, os.SEEK_SET)
            self._file = soundfile.SoundFile(file.fileno(), closefd=False)
        else:
            self._file = soundfile.SoundFile(file)
        self._frames: int = self._file.frames
        rate = self._file.samplerate
        if self._frames / rate > 1e9:
            raise BadAudio("its header does not say how long it is; save it again with a tool that writes the length")
        format = "opus" if self._file.subtype == "OPUS" else name
        self.info = AudioInfo(format, rate, self._file.channels, self._frames / rate)

    def blocks(self) -> Iterator[Samples]:
        done = 0
        # 16-bit samples are faster read as they are; the floats are the same.
        plain = self._file.subtype == "PCM_16"
        while len(block := self._file.read(BLOCK, dtype="int16" if plain else "float32", always_2d=True)):
            done += len(block)
            yield block * np.float32(1 / 32768) if plain else block
        if done < self._frames - self.info.sample_rate:
            raise BadAudio(_ends_early(self.info.seconds, done / self.info.sample_rate))

    def check_end(self) -> None:
        self._file.seek(max(0, self._frames - self.info.sample_rate))
        if not len(self._file.read(self.info.sample_rate)):
            raise BadAudio(_ends_early(self.info.seconds))


class _FFmpeg:
    def __init__(self, file: BinaryIO, name: str) -> None:
        import av

        # The format is given: guessing would try playlists, which name other files.
        container: Any = av.open(file, format={"m4a": "mov"}.get(name, name))
        if not container.streams.audio:
            raise BadAudio("there is no audio track in it")
        stream = container.streams.audio[0]
        seconds = float(stream.duration * stream.time_base) if stream.duration else 0.0
        self._container, self._stream = container, stream
        self._knows_its_length = name == "m4a"
        self.info = AudioInfo(name, stream.codec_context.sample_rate, stream.codec_context.channels, seconds)

    def blocks(self) -> Iterator[Samples]:
        import av

        # Gathers the codec's frames, of a thousand samples each, without a detour through Python.
        gathered: Any = av.AudioFifo()
        done = 0
        for frame in self._decoded():
            # The fifo itself would write frames of fewer channels from memory that is not theirs.
            if frame.layout.nb_channels != self.info.channels or frame.sample_rate != self.info.sample_rate:
                raise BadAudio("its sample rate or number of channels changes on the way; save it as a WAV file")
            done += frame.samples
            frame.pts = None
            gathered.write(frame)
            if gathered.samples >= BLOCK + PADDING:
                yield gathered.read(BLOCK).to_ndarray().T
        beyond = done - round(self.info.seconds * self.info.sample_rate)
        if gathered.samples:
            block = gathered.read().to_ndarray().T
            yield block[:-beyond] if self._knows_its_length and 0 < beyond <= PADDING else block
        if self._knows_its_length and -beyond > self.info.sample_rate:
            raise BadAudio(_ends_early(self.info.seconds, done / self.info.sample_rate))

    def check_end(self) -> None:
        if self._knows_its_length:
            wanted = max(0.0, self.info.seconds - 1) / self._stream.time_base
            self._container.seek(int(wanted), stream=self._stream)
            if next(self._decoded(), None) is None:
                raise BadAudio(_ends_early(self.info.seconds))

    def _decoded(self) -> Iterator[Any]:
        """One frame of the codec at a time, of planes of floats. Broken packets are left out, as players do, unless
        they are many."""
        import av

        is_plain = self._stream.codec_context.format.name == "fltp"
        to_plain = av.AudioResampler(format="fltp")
        packets = broken = 0
        for packet in self._container.demux(self._stream):
            packets += 1
            try:
                frames = packet.decode()
            except av.InvalidDataError:
                broken += 1
                continue
            if is_plain:
                yield from frames
            else:
                yield from (plain for frame in frames for plain in to_plain.resample(frame))
        if broken > 1 + packets * MAX_DAMAGE:
            raise BadAudio(f"it is damaged: {broken} of its {packets} packets cannot be decoded")


@contextmanager
def _decoder(file: BinaryIO) -> Iterator[_Decoder]:
    """The right decoder, for a file within the limits; what any library raises inside the block becomes BadAudio."""
    import av

    name = _sniff(file)
    file.seek(0)
    try:
        decoder: _Decoder = (_FFmpeg if name in ("mp3", "aac", "m4a") else _Sndfile)(file, name)
        _check_limits(decoder.info)
        yield decoder
    except (soundfile.SoundFileError, av.FFmpegError, ValueError) as error:
        raise BadAudio(f"it looks like {name}, but cannot be decoded; it may be damaged or cut off") from error


def _sniff(file: BinaryIO) -> str:
    """The format by the first bytes. Raises BadAudio for none that we read."""
    head = file.read(4096)
    if not head:
        raise BadAudio("it is empty")
    if head[:3] == b"ID3" and len(head) >= 10:  # a tag before the audio; its size has 7 bits a byte
        size = (head[6] & 127) << 21 | (head[7] & 127) << 14 | (head[8] & 127) << 7 | head[9] & 127
        file.seek(10 + size)
        head = file.read(4096)
    if head[:4] in (b"RIFF", b"RIFX") and head[8:12] == b"WAVE":
        _check_promise(file, int.from_bytes(head[4:8], "little" if head[:4] == b"RIFF" else "big"))
        return "wav"
    if (head[:4] == b"RF64" and head[8:12] == b"WAVE") or head[:4] == b"riff":
        return "wav"
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        _check_promise(file, int.from_bytes(head[4:8], "big"))
        return "aiff"
    if head[:4] == b"fLaC":
        return "flac"
    if head[:4] == b"OggS":
        return "ogg"
    if head[4:8] == b"ftyp":
        return "m4a"
    frame = head.lstrip(b"\0")[:3]
    if len(frame) == 3 and frame[0] == 0xFF:
        if frame[1] & 0xF6 == 0xF0:
            return "aac"
        if frame[1] & 0xE0 == 0xE0 and frame[1] & 0x06 and frame[2] & 0xF0 != 0xF0 and frame[2] & 0x0C != 0x0C:
            return "mp3"
    raise BadAudio("it is not audio that can be read; send WAV, FLAC, MP3, Ogg, Opus, AIFF or M4A")


def _check_promise(file: BinaryIO, promised: int) -> None:
    """libsndfile reads what there is of a WAV that broke off in transfer; its header says how much there should be."""
    size = file.seek(0, io.SEEK_END)
    if size < promised < 0x7FFF_0000:  # from there on are the values of those who write to a pipe and do not know
        raise BadAudio(f"it is cut off: it should have {promised + 8} bytes, and has {size}; send the whole file")


def _check_limits(info: AudioInfo) -> None:
    if not 1 <= info.channels <= MAX_CHANNELS:
        raise BadAudio(f"it has {info.channels} channels; at most {MAX_CHANNELS} can be read")
    if info.sample_rate not in RATES:
        raise BadAudio(f"its sample rate is {info.sample_rate} Hz; from {RATES[0]} to {RATES[-1]} Hz can be read")
    _check_length(info.seconds, info)


def _check_length(seconds: float, info: AudioInfo) -> None:
    if seconds > MAX_SECONDS:
        raise BadAudio(f"it is longer than {MAX_SECONDS // 3600} hours; cut it")
    if seconds * info.sample_rate * info.channels > MAX_SAMPLES:
        raise BadAudio("it has too many samples (length × rate × channels); cut it, or save it as 48 kHz stereo")


def _checked(decoded: Iterator[Samples], info: AudioInfo) -> Iterator[Samples]:
    """The same blocks, each looked at: no NaN, no infinity, and not longer than the header admitted."""
    done = 0
    for block in decoded:
        done += len(block)
        _check_length(done / info.sample_rate, info)
        if not max(block.max(initial=0), -block.min(initial=0)) <= MAX_PEAK:  # written so that NaN fails as well
            raise BadAudio("it has samples that are no numbers (NaN or infinity); export it again")
        yield block


def _ends_early(promised: float, found: float | None = None) -> str:
    end = "its end" if found is None else f"all after {found:.1f} s"
    return f"it is cut off: it should be {promised:.1f} s long, but {end} is missing; send the whole file"
