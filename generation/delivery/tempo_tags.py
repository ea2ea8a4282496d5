"""A track's tempo and key in its tags, by the names that DJ software and DAWs read.

libsndfile writes neither, so they are added to the finished file: `TBPM` and `TKEY` of ID3 in MP3 and WAV, the comments
`BPM` and `INITIALKEY` in FLAC and Opus.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

_COMMENT_BLOCK = 4  # the type of FLAC's metadata block of Vorbis comments
_LAST_BLOCK = 0x80
_OPUS_TAGS = b"OpusTags"
_OGG_HEADER_BYTES = 27
_OGG_POLYNOMIAL = 0x04C11DB7


def short_key(key: str) -> str:
    """A key such as `A minor` as ID3 has it: `Am`."""
    note, mode = key.split()
    return note + ("m" if mode == "minor" else "")


def vorbis_comments(bpm: int, key: str | None) -> list[bytes]:
    fields = {"BPM": str(bpm)} | ({"INITIALKEY": short_key(key)} if key else {})
    return [f"{name}={text}".encode() for name, text in fields.items()]


def id3_frames(bpm: int, key: str | None) -> bytes:
    fields = {"TBPM": str(bpm)} | ({"TKEY": short_key(key)} if key else {})
    return b"".join(_id3_frame(name, text.encode()) for name, text in fields.items())


def tag_frames(tags: Mapping[str, str]) -> bytes:
    """Tags by libsndfile's names as ID3 frames; a comment has a language and no title."""
    frames = {"comment": "COMM", "genre": "TCON", "software": "TSSE", "date": "TYER"}
    texts = {frames[name]: text.encode("latin-1", "replace") for name, text in tags.items()}
    return b"".join(_id3_frame(name, b"eng\0" + text if name == "COMM" else text) for name, text in texts.items())


def _id3_frame(name: str, text: bytes) -> bytes:
    """A frame of version 2.3, and up to 127 bytes of 2.4 as well. The zero before the text stands for Latin-1."""
    return name.encode() + struct.pack(">IH", len(text) + 1, 0) + b"\0" + text


def id3(frames: bytes) -> bytes:
    """A tag of version 2.3."""
    return b"ID3\3\0\0" + _syncsafe(len(frames)) + frames


def with_id3_frames(mp3: bytes, frames: bytes) -> bytes:
    """An MP3 file with more frames in the tag that it begins with."""
    size = int.from_bytes(bytes(mp3[6:10]), "big")
    old = sum((size >> 8 * place & 0x7F) << 7 * place for place in range(4))
    return mp3[:6] + _syncsafe(old + len(frames)) + frames + mp3[10:]


def with_flac_comments(flac: bytes, comments: list[bytes]) -> bytes:
    """A FLAC file with more comments in its block of them."""
    at = 4
    while flac[at] & ~_LAST_BLOCK != _COMMENT_BLOCK:
        at += 4 + int.from_bytes(flac[at + 1 : at + 4], "big")
    size = int.from_bytes(flac[at + 1 : at + 4], "big")
    block = _with_comments(flac[at + 4 : at + 4 + size], comments)
    return flac[: at + 1] + len(block).to_bytes(3, "big") + block + flac[at + 4 + size :]


def with_opus_comments(opus: bytes, comments: list[bytes]) -> bytes:
    """An Ogg Opus file with more comments in its second page, which holds nothing else."""
    start = _page_bytes(opus, 0)
    end = start + _page_bytes(opus, start)
    packet = opus[start + _OGG_HEADER_BYTES + opus[start + 26] : end]
    assert packet.startswith(_OPUS_TAGS)
    packet = _OPUS_TAGS + _with_comments(packet[len(_OPUS_TAGS) :], comments)
    lacing = b"\xff" * (len(packet) // 255) + bytes([len(packet) % 255])
    page = opus[start : start + 22] + bytes(4) + bytes([len(lacing)]) + lacing + packet
    return opus[:start] + page[:22] + struct.pack("<I", _ogg_checksum(page)) + page[26:] + opus[end:]


def _with_comments(block: bytes, comments: list[bytes]) -> bytes:
    """A Vorbis comment block, from the vendor's length on, with more comments before its own."""
    at = 4 + int.from_bytes(block[:4], "little")
    count = int.from_bytes(block[at : at + 4], "little") + len(comments)
    added = b"".join(struct.pack("<I", len(each)) + each for each in comments)
    return block[:at] + struct.pack("<I", count) + added + block[at + 4 :]


def _page_bytes(ogg: bytes, at: int) -> int:
    segments = ogg[at + 26]
    return _OGG_HEADER_BYTES + segments + sum(ogg[at + _OGG_HEADER_BYTES : at + _OGG_HEADER_BYTES + segments])


def _ogg_checksum(page: bytes) -> int:
    checksum = 0
    for byte in page:
        checksum ^= byte << 24
        for _ in range(8):
            checksum = (checksum << 1 & 0xFFFFFFFF) ^ (_OGG_POLYNOMIAL if checksum & 0x80000000 else 0)
    return checksum


def _syncsafe(size: int) -> bytes:
    return bytes(size >> 7 * place & 0x7F for place in (3, 2, 1, 0))
