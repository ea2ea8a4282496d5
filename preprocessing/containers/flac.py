"""FLAC, without its pictures, comments and seek tables."""

from __future__ import annotations

from typing import BinaryIO

from preprocessing.containers.base import Demuxed, Layout, View, damaged, read_at

_MAX_METADATA_BLOCKS = 128
_STREAMINFO_BYTES = 34


def flac(file: BinaryIO, start: int, end: int) -> Layout:
    """Parse FLAC from `start`. Raises BadAudio."""
    at = start + 4
    for _ in range(_MAX_METADATA_BLOCKS):
        head = read_at(file, at, 4)
        if len(head) < 4:
            break
        length = int.from_bytes(head[1:], "big")
        if at == start + 4 and (head[0] & 127 or length != _STREAMINFO_BYTES):
            break
        at += 4 + length
        if head[0] & 128:
            clean = b"fLaC" + b"\x80\0\0\x22" + read_at(file, start + 8, _STREAMINFO_BYTES)
            # FFmpeg: libsndfile stops at the length in the header, and at tags after the last frame.
            return Layout("flac", [Demuxed(View(file, [clean, (at, max(0, end - at))]), "flac")])
    raise damaged("flac", "its header is broken")
