"""Sound files as other programs write them, damaged files, and hostile ones: read, or refused with the reason."""

from __future__ import annotations

import io
import os
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from preprocessing.containers.base import BadAudio
from preprocessing.decode import blocks, check_ends, probe
from preprocessing.decoders import Samples
from tests.sounds import RATE, Sound, chord, chunk, encoded, format_chunk, id3, kinds, pcm16, wav_of, written

SOUND = chord(2)
PCM = pcm16(SOUND)
LIST = chunk(b"LIST", b"INFO" + chunk(b"ISFT", b"recorder"))


def samples(data: bytes, folder: Path) -> Samples:
    path = folder / "sound"
    path.write_bytes(data)
    return np.concatenate(list(blocks(path)))


@pytest.mark.parametrize("name", kinds())
def test_every_kind_is_read(name: str, tmp_path: Path) -> None:
    data = kinds()[name]
    info = check_ends(io.BytesIO(data))
    sound = samples(data, tmp_path)
    assert info == probe(tmp_path / "sound")
    with (tmp_path / "sound").open("rb", buffering=0) as file:
        assert check_ends(file) == info
    assert sound.shape == (pytest.approx(3 * info.sample_rate, abs=2700), info.channels)
    assert info.seconds == pytest.approx(len(sound) / info.sample_rate, abs=0.03)
    # Without a header that states the encoder's delay, the chord begins up to 2,400 samples late.
    wanted = chord(3.1, info.sample_rate, info.channels).astype(np.float32)
    delay = _delay(sound, wanted)
    assert delay == 0 or name in ("wav mp3", "mp3 without index", "mp2", "aac", "m4a fragments")
    middle = slice(info.sample_rate, 2 * info.sample_rate)
    moved = slice(middle.start - delay, middle.stop - delay)
    assert np.abs(sound[middle] - wanted[moved]).max() < 0.05
    assert not info.warnings


def _delay(sound: Samples, wanted: Samples) -> int:
    part = sound[8_000:12_000, 0]
    return int(np.argmin([np.abs(part - wanted[8_000 - by : 12_000 - by, 0]).sum() for by in range(3000)]))


def _mp3() -> bytes:
    return written(SOUND, format="MP3")


def _with_count(count: int) -> bytes:
    data = bytearray(_mp3())
    at = next(data.index(name) for name in (b"Xing", b"Info") if name in data)
    data[at + 8 : at + 12] = count.to_bytes(4, "big")
    return bytes(data)


def _aiff(sound_chunk: bytes, size: int | None = None) -> bytes:
    common = chunk(b"COMM", b"\0\2" + bytes(4) + b"\0\x10" + b"\x40\x0e\xac\x44" + bytes(6), "big")
    body = b"AIFF" + common + sound_chunk
    return b"FORM" + (len(body) if size is None else size).to_bytes(4, "big") + body


def _ssnd(size: int | None = None) -> bytes:
    return chunk(b"SSND", bytes(8) + pcm16(SOUND, ">"), "big", size)


def _m4a() -> bytes:
    return encoded(SOUND, "aac", "ipod")


def _flac(sound: Sound = SOUND, frames: int | None = None) -> bytes:
    """A FLAC file; `frames` is the length in its header, if not the true one."""
    data = bytearray(written(sound, format="FLAC"))
    if frames is not None:
        data[21] &= 0xF0
        data[22:26] = frames.to_bytes(4, "big")
    return bytes(data)


def _w64(size: int) -> bytes:
    data = bytearray(written(SOUND, format="W64"))
    at = data.index(b"data") + 16
    data[at : at + 8] = size.to_bytes(8, "little")
    return bytes(data)


def _ogg_beside_another_stream() -> bytes:
    """Pages of an Ogg Skeleton stream before and between those of the music."""
    page = b"OggS\0\2" + bytes(8) + b"skel" + bytes(8) + b"\1\x40" + b"fishead\0" + bytes(56)
    data = written(SOUND, format="OGG")
    second = data.index(b"OggS", 4)
    later = bytearray(page)
    later[5] = 0
    return page + data[:second] + bytes(later) + data[second:]


# Each holds the whole of SOUND, and must be read to its end.
READ: dict[str, Callable[[], bytes]] = {
    "sizes of zero": lambda: wav_of(format_chunk(), chunk(b"data", PCM, size=0), size=0),
    "sizes of a pipe": lambda: wav_of(format_chunk(), chunk(b"data", PCM, size=2**32 - 1), size=2**32 - 1),
    "sizes of another pipe": lambda: wav_of(format_chunk(), chunk(b"data", PCM, size=0x7FFFF000), size=0x7FFFF024),
    "44 too large": lambda: wav_of(format_chunk(), chunk(b"data", PCM, size=len(PCM) + 44), size=len(PCM) + 80),
    "the riff size too large": lambda: wav_of(format_chunk(), chunk(b"data", PCM), size=len(PCM) + 5000),
    "the data size too small": lambda: wav_of(format_chunk(), chunk(b"data", PCM, size=1000)),
    "the riff size of zero": lambda: wav_of(format_chunk(), chunk(b"data", PCM), LIST, size=0),
    "data before fmt": lambda: wav_of(chunk(b"data", PCM), format_chunk()),
    "a LIST before": lambda: wav_of(LIST, format_chunk(), LIST, chunk(b"data", PCM), LIST),
    "a LIST of a wrong size": lambda: wav_of(
        format_chunk(), chunk(b"LIST", b"INFO", size=2**32 - 8), chunk(b"data", PCM)
    ),
    "a LIST over the data": lambda: wav_of(format_chunk(), chunk(b"LIST", b"INFO", size=9000), chunk(b"data", PCM)),
    "a sub-chunk without end": lambda: wav_of(
        format_chunk(), chunk(b"LIST", b"INFO" + chunk(b"abcd", b"", size=2**32 - 8)), chunk(b"data", PCM)
    ),
    "missing padding": lambda: wav_of(format_chunk(), chunk(b"bext", bytes(7), padded=False), chunk(b"data", PCM)),
    "two data chunks": lambda: wav_of(format_chunk(), chunk(b"data", PCM[:40_000]), LIST, chunk(b"data", PCM[40_000:])),
    "a frame of no size": lambda: wav_of(format_chunk().replace(b"\4\0\x10\0", b"\0\0\x10\0"), chunk(b"data", PCM)),
    "a tag before wav": lambda: id3(bytes(500)) + written(SOUND),
    "wav after wav": lambda: written(SOUND[:RATE]) + written(SOUND[RATE:]),
    "w64 of no size": lambda: _w64(0),
    "w64 of a pipe": lambda: _w64(2**64 - 1),
    "aiff": lambda: _aiff(_ssnd()),
    "aiff of no size": lambda: _aiff(_ssnd(0), size=0),
    "aiff 54 too large": lambda: _aiff(_ssnd(8 + len(PCM) + 54)),
    "aiff of a pipe": lambda: _aiff(_ssnd(2**32 - 1), size=2**32 - 1),
    "aiff with a tag": lambda: _aiff(chunk(b"ID3 ", id3(bytes(3)), "big") + _ssnd()),
    "a tag": lambda: id3(bytes(500)) + _mp3(),
    "two tags": lambda: id3(bytes(2000)) + id3(bytes(10), 3) + _mp3(),
    "a tag of ID3v2.2": lambda: id3(b"TT2\0\0\2\0a", 2) + _mp3(),
    "a compressed tag": lambda: id3(b"TXXX" + bytes(4) + b"\0\x0d" + zlib.compress(bytes(9**6))) + _mp3(),
    "a tag that is longer than the file": lambda: b"ID3\4\0\0\x7f\x7f\x7f\x7f" + _mp3(),
    "tags at the end": lambda: _mp3() + b"APETAGEX" + bytes(4) + b"\x20" + bytes(19) + b"TAG" + bytes(125),
    "5,000 zeros": lambda: bytes(5000) + _mp3(),
    "a tag and zeros": lambda: id3(bytes(20)) + bytes(4_000_000) + _mp3(),
    "junk": lambda: np.random.default_rng(0).bytes(9000) + _mp3(),
    "the remains of an mp4": lambda: _m4a()[:28] + _mp3(),
    "an index of 14 hours": lambda: _with_count(2_000_000),
    "an index of one frame": lambda: _with_count(1),
    "an index of none": lambda: _with_count(0),
    "layer II, named mp3": lambda: encoded(SOUND, "mp2", "mp2"),
    "aac with a tag": lambda: id3(bytes(99)) + encoded(SOUND, "aac", "adts"),
    "two songs in one ogg": lambda: written(SOUND[:RATE], format="OGG") + written(SOUND[RATE:], format="OGG"),
    "two songs in one opus": lambda: 2 * written(chord(1, 48_000), 48_000, "OGG", subtype="OPUS"),
    "flac in ogg": lambda: encoded(SOUND, "flac", "ogg"),
    "two songs of flac in one ogg": lambda: encoded(SOUND[:RATE], "flac", "ogg") + encoded(SOUND[RATE:], "flac", "ogg"),
    "ogg beside another stream": _ogg_beside_another_stream,
    "flac with a tag": lambda: id3(bytes(99)) + written(SOUND, format="FLAC"),
    "flac without its length": lambda: _flac(frames=0),
    "flac of half its length": lambda: _flac(frames=RATE),
    "two songs of flac, with the length of one": lambda: _flac(SOUND[:RATE]) + _flac(SOUND[RATE:]),
    "flac with tags and zeros at its end": lambda: _flac() + b"TAG" + bytes(125) + bytes(200_000),
}


@pytest.mark.parametrize("name", READ)
def test_imperfect_files_are_read_to_their_end(name: str, tmp_path: Path) -> None:
    data = READ[name]()
    info = check_ends(io.BytesIO(data))
    sound = samples(data, tmp_path)
    assert len(sound) / info.sample_rate == pytest.approx(2, abs=0.06)
    assert 20 * np.log10(np.abs(sound).max()) == pytest.approx(20 * np.log10(np.abs(SOUND).max()), abs=0.5)
    if "length" not in name:
        assert info.seconds == pytest.approx(2, abs=0.1)


def _free_format() -> bytes:
    data = bytearray(encoded(SOUND, "libmp3lame", "mp3", options={"write_xing": "0", "id3v2_version": "0"}))
    at = 0
    while at + 4 < len(data):  # frames of 128 kbit/s
        step = 144 * 128_000 // RATE + (data[at + 2] >> 1 & 1)
        data[at + 2] &= 0x0F
        at += step
    return bytes(data)


def _protected() -> bytes:
    return _m4a().replace(b"mp4a", b"drms", 1)


def _cmov() -> bytes:
    data = _m4a()
    at = data.index(b"moov") - 4
    packed = zlib.compress(bytes(50_000_000), 9)
    inner = b"cmov" + b"\0\0\0\x0cdcomzlib" + (len(packed) + 12).to_bytes(4, "big") + b"cmvd\x02\xfa\xf0\x80" + packed
    return data[:at] + (len(inner) + 12).to_bytes(4, "big") + b"moov" + (len(inner) + 4).to_bytes(4, "big") + inner


def _listing(table: bytes, at: int, count: int, kind: str = "m4a") -> bytes:
    data = bytearray(kinds()[kind])
    place = data.index(table) + at
    data[place : place + 4] = count.to_bytes(4, "big")
    return bytes(data)


def _packets_of_one_size() -> bytes:
    data = bytearray(_listing(b"stsz", 8, 4))
    place = data.index(b"stsz") + 12
    data[place : place + 4] = (90_000_000).to_bytes(4, "big")
    return bytes(data)


_PAGE = b"OggS\0\0" + bytes(8) + b"abcd" + bytes(9)

REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "a sub-chunk without end, and no data": (
        lambda: wav_of(
            format_chunk(), chunk(b"LIST", b"INFO" + chunk(b"abcd", bytes(60), size=2**32 - 8), size=2**32 - 256)
        ),
        "no data chunk",
    ),
    "no fmt chunk": (lambda: wav_of(chunk(b"data", PCM)), "no fmt chunk"),
    "an unknown form": (lambda: wav_of(format_chunk(tag=0x161), chunk(b"data", PCM)), "0x161.*save it as PCM"),
    "half of it missing": (lambda: wav_of(format_chunk(), chunk(b"data", PCM))[:-40_000], "cut off"),
    "flac of twice its length": (lambda: _flac(frames=10 * RATE), "cut off"),
    "half of an aiff missing": (lambda: _aiff(_ssnd())[:-40_000], "cut off"),
    "chunks without end": (lambda: b"RIFF\xff\xff\xff\x7fWAVE" + b"abcd\0\0\0\0" * 100_000, "chunks"),
    "free format": (_free_format, "free format"),
    "frames that are none": (lambda: b"\xff\xf1\x50\x80\x01\x1f\xfc" * 300_000, "damaged"),
    "songs of different rates": (
        lambda: written(SOUND, format="OGG") + written(chord(2, 48_000), 48_000, "OGG"),
        "different sample rates",
    ),
    "wavs of different rates": (lambda: written(SOUND) + written(SOUND, 48_000), "changes midway"),
    "pages without end": (lambda: written(SOUND, format="OGG") + _PAGE * 210_000, "pages"),
    "a compressed index": (_cmov, "cmov"),
    "a recording never finished": (lambda: _m4a()[: _m4a().index(b"moov") - 4], "never finished"),
    "a protected file": (_protected, "protected"),
    "90,000,000 packets": (lambda: _listing(b"stsz", 12, 90_000_000), "packets"),
    "90,000,000 packets of one size": (_packets_of_one_size, "packets"),
    "a fragment of 200,000,000 packets": (lambda: _listing(b"trun", 8, 200_000_000, "m4a fragments"), "packets"),
    "atoms without end": (lambda: kinds()["m4a"] + b"\0\0\0\x08free" * 100_000, "atoms"),
    "no sound in it": (lambda: kinds()["m4a"].replace(b"soun", b"text"), "no audio track"),
    "floats of integers": (lambda: written(SOUND * 32_768, subtype="FLOAT"), "times full scale.*within ±1"),
    "floats of 9": (lambda: written(SOUND * 37.5, subtype="FLOAT"), "9 times full scale|times full scale"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_unreadable_files_are_refused_quickly_with_the_reason(name: str, tmp_path: Path) -> None:
    make, reason = REFUSED[name]
    data = make()
    start = time.process_time()
    with pytest.raises(BadAudio, match=reason):
        check_ends(io.BytesIO(data))
    with pytest.raises(BadAudio, match=reason):
        samples(data, tmp_path)
    assert time.process_time() - start < 2


def test_a_tag_is_never_inflated(tmp_path: Path) -> None:
    """FFmpeg would inflate both: a tag before the first frame, and one within a stream of AAC."""
    packed = zlib.compress(bytes(300_000_000), 9)
    frame = b"TXXX" + bytes(len(packed) + 4 >> shift & 127 for shift in (21, 14, 7, 0)) + b"\0\x0d"
    tag = id3(frame + bytes([0, 0x8F, 0x0D, 0x00]) + packed)
    for data in (tag + _mp3(), encoded(SOUND, "aac", "adts") + tag):
        before = _peak_memory()
        check_ends(io.BytesIO(data))
        samples(data, tmp_path)
        assert _peak_memory() - before < 100


def _peak_memory() -> int:
    """In MiB."""
    lines = Path(f"/proc/{os.getpid()}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM"))) // 1024
