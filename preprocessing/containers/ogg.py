"""Ogg: chained audio streams, possibly multiplexed with streams that are not audio."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import BinaryIO

from preprocessing.containers.base import SEARCH_BYTES, BadAudio, Demuxed, Layout, OggFile, Range, Stream, View, damaged
from preprocessing.containers.base import read_at as read

_MAX_PAGES = 200_000  # four hours at 14 pages a second; encoders write one or two
_MAX_SONGS = 500
_BEGINNING_OF_STREAM = 2  # a flag in a page's header


@dataclass
class _Song:
    """One logical audio stream; `pages` are its byte ranges in the file."""

    serial: bytes
    codec: str
    rate: int
    channels: int
    pages: list[Range] = field(default_factory=list)

    def add(self, at: int, length: int) -> None:
        if self.pages and sum(self.pages[-1]) == at:
            at, length = self.pages[-1][0], self.pages.pop()[1] + length
        self.pages.append((at, length))


def ogg(file: BinaryIO, start: int, end: int) -> Layout:
    """Parse Ogg from `start`.

    Raises:
        BadAudio: there is no audio stream, or streams differ in sample rate or channels.
    """
    songs = _songs(file, start, end)
    if not songs:
        raise damaged("ogg", "there is no Vorbis, Opus, FLAC or Speex in it")
    first = songs[0]
    if any((song.rate, song.channels) != (first.rate, first.channels) for song in songs):
        raise BadAudio(
            "it holds several songs one after the other, of different sample rates or numbers of channels; "
            "send each as a file of its own, or save them as one WAV file"
        )
    return Layout("opus" if first.codec == "opus" else "ogg", [_stream(file, song) for song in songs])


def _stream(file: BinaryIO, song: _Song) -> Stream:
    view = View(file, [*song.pages])
    return OggFile(view, exact=False) if song.codec in ("vorbis", "opus") else Demuxed(view, "ogg")


def _songs(file: BinaryIO, start: int, end: int) -> list[_Song]:
    songs: list[_Song] = []
    beginning = False  # in the first pages of multiplexed streams
    at = start
    for _ in range(_MAX_PAGES):
        head = read(file, at, 27 + 255)
        if head[:4] != b"OggS":
            found = read(file, at, SEARCH_BYTES).find(b"OggS")
            if found < 0:
                return songs
            at += found
            continue
        count = head[26] if len(head) > 26 else 255
        length = 27 + count + sum(head[27 : 27 + count])
        if len(head) < 27 + count or at + length > end:
            return songs  # the last page is cut off
        serial = head[14:18]
        if head[5] & _BEGINNING_OF_STREAM:
            song = _identified(serial, read(file, at + 27 + count, 64))
            if song and not (beginning and songs):
                songs.append(song)
            beginning = beginning or song is not None
        else:
            beginning = False
        if songs and songs[-1].serial == serial:
            songs[-1].add(at, length)
        at += length
        if len(songs) > _MAX_SONGS:
            raise BadAudio(f"it holds more than {_MAX_SONGS} songs one after the other; save it as one song")
    raise BadAudio(f"it has more than {_MAX_PAGES} pages; save it again with a usual encoder")


def _identified(serial: bytes, packet: bytes) -> _Song | None:
    """The stream that begins with this packet; None if it is not audio, or has an unsupported codec."""
    if packet[:7] == b"\1vorbis":
        return _Song(serial, "vorbis", int.from_bytes(packet[12:16], "little"), packet[11])
    if packet[:8] == b"OpusHead":
        return _Song(serial, "opus", 48_000, packet[9])
    if packet[:5] == b"\x7fFLAC" and packet[9:13] == b"fLaC":
        rate = int.from_bytes(packet[27:30], "big") >> 4
        return _Song(serial, "flac", rate, (packet[29] >> 1 & 7) + 1)
    if packet[:8] == b"Speex   ":
        return _Song(serial, "speex", int.from_bytes(packet[36:40], "little"), packet[48])
    return None
