"""Container parsers: they recognise a file's format and locate its audio, before any decoding library sees it.

Time and memory do not depend on the sizes that a header claims. Chunks, atoms and tags that are not needed for the
audio never reach a library.
"""

from __future__ import annotations

from typing import BinaryIO

from preprocessing.containers.aiff import aiff, caf, is_aiff
from preprocessing.containers.base import BadAudio, Damaged, Layout, read_at, size_of
from preprocessing.containers.flac import flac
from preprocessing.containers.mp4 import is_mp4, mp4
from preprocessing.containers.mpeg import mpeg
from preprocessing.containers.ogg import ogg
from preprocessing.containers.riff import is_wav, wav
from preprocessing.containers.tags import first_byte, last_byte


def layout(file: BinaryIO) -> Layout:
    """The format and the streams of a file, by its content. Raises BadAudio if it cannot be used."""
    size = size_of(file)
    if not size:
        raise BadAudio("it is empty")
    start = first_byte(file, size)
    try:
        found = _container(file, start, size)
    except Damaged as reason:  # an MP3 may follow the remains of another container
        try:
            return _frames(file, start + 1, size)
        except BadAudio:
            raise reason from None
    return found or _frames(file, start, size)


def _frames(file: BinaryIO, start: int, size: int) -> Layout:
    frames = mpeg(file, start, last_byte(file, size))
    return Layout("aac" if frames.codec == "aac" else "mp3", [frames])


def _container(file: BinaryIO, start: int, size: int) -> Layout | None:
    head = read_at(file, start, 32)
    if is_wav(head):
        return wav(file, start)
    if is_aiff(head):
        return aiff(file, start)
    if head[:4] == b"caff":
        return caf(file, start)
    if head[:4] == b"fLaC":
        return flac(file, start, size)
    if head[:4] == b"OggS":
        return ogg(file, start, size)
    if is_mp4(head):
        return mp4(file, start, size)
    return None
