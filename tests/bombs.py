"""Small files that make a careless reader use much memory or time, one of each kind."""

from __future__ import annotations

import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable
from functools import cache

import numpy as np
import soundfile

from tests.api import beat

_ZEROS = bytes(2**20)


def zlib_of_zeros(megabytes: int) -> bytes:
    """Zeros, compressed to a thousandth of their size."""
    packer = zlib.compressobj(9)
    return b"".join([*(packer.compress(_ZEROS) for _ in range(megabytes)), packer.flush()])


def looping_wav() -> bytes:
    """A WAV whose LIST chunk has an entry with a size that makes libsndfile seek backwards in an endless loop."""
    info = b"INFO" + b"abcd" + struct.pack("<I", 0xFFFFFFF8) + bytes(8)
    form = b"fmt " + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 16000, 2, 16)
    data = b"data" + struct.pack("<I", 32) + bytes(32)
    chunks = b"WAVE" + form + b"LIST" + struct.pack("<I", len(info)) + info + data
    return b"RIFF" + struct.pack("<I", len(chunks)) + chunks


def inflating_mp3(frames: int = 1, megabytes: int = 250) -> bytes:
    """An MP3 after ID3v2.4 frames whose compressed content is huge."""
    packed = zlib_of_zeros(megabytes)
    frame = b"TXXX" + _syncsafe(len(packed) + 4) + b"\x00\x09" + struct.pack(">I", megabytes * 2**20) + packed
    return b"ID3\x04\x00\x00" + _syncsafe(frames * len(frame)) + frames * frame + beat(2, "MP3")


def inflating_m4a(megabytes: int = 1000) -> bytes:
    """A QuickTime file with a compressed header (`cmov`) whose content is huge."""
    dcom = _atom(b"dcom", b"zlib")
    cmvd = _atom(b"cmvd", struct.pack(">I", megabytes * 2**20) + zlib_of_zeros(megabytes))
    return _atom(b"ftyp", b"qt  " + bytes(4) + b"qt  ") + _atom(b"moov", _atom(b"cmov", dcom + cmvd))


def zip_of_zeros(megabytes: int = 1000) -> bytes:
    """A zipped adapter of a gigabyte of zeros, a megabyte in its archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("adapter_model.safetensors", "w", force_zip64=True) as entry:
            for _ in range(megabytes):
                entry.write(_ZEROS)
        archive.writestr("adapter_config.json", "{}")
    return buffer.getvalue()


def empty_tensors(count: int = 150_000) -> bytes:
    """A safetensors file with many tensors and no data."""
    table = {
        f"base_model.model.layers.{number}.lora_A.weight": {"dtype": "F32", "shape": [0, 8], "data_offsets": [0, 0]}
        for number in range(count)
    }
    header = json.dumps(table).encode()
    return struct.pack("<Q", len(header)) + header


@cache
def silent_flac(minutes: int = 120, rate: int = 48_000) -> bytes:
    """Silence that takes minutes to analyse."""
    buffer = io.BytesIO()
    with soundfile.SoundFile(buffer, "w", rate, 2, format="FLAC", subtype="PCM_16") as file:
        minute = np.zeros((60 * rate, 2), np.int16)
        for _ in range(minutes):
            file.write(minute)
    return buffer.getvalue()


AUDIO: dict[str, Callable[[], bytes]] = {
    "a WAV that loops": looping_wav,
    "an MP3 with an inflating tag": inflating_mp3,
    "an MP3 with eight inflating tags": lambda: inflating_mp3(8),
    "an M4A with an inflating header": inflating_m4a,
}
ADAPTERS: dict[str, Callable[[], bytes]] = {
    "a zip of zeros": zip_of_zeros,
    "150,000 empty tensors": empty_tensors,
}


def _syncsafe(number: int) -> bytes:
    return bytes((number >> shift) & 127 for shift in (21, 14, 7, 0))


def _atom(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", 8 + len(content)) + kind + content
