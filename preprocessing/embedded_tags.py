"""Tags inside an audio file: title, artist, album, genre, tempo and key.

They are in ID3, Vorbis comments, MP4 and RIFF INFO, and a loop's tempo in the `acid` chunk of a WAV file. FFmpeg reads
most of them, in a sandbox of their own: a file whose tags are damaged or hostile counts as one without tags.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import soundfile

from core.notation import Unreadable
from core.sandbox import Exceeded
from preprocessing.captions import clean
from preprocessing.containers.base import BadAudio
from preprocessing.containers.mp4 import itunes_tempo
from preprocessing.containers.riff import acid_tempo
from preprocessing.isolation import DECODING, READ_TAGS
from preprocessing.metadata import FIELDS

log = logging.getLogger("producer_twin.preprocessing")

MAX_LENGTH = 200  # characters of one tag

# By field: names that formats and programs use, in lower case and without other characters than letters.
_NAMES = {
    "title": ("title",),
    "artist": ("artist",),
    "album": ("album",),
    "genre": ("genre",),
    "bpm": ("bpm", "tbpm", "tmpo", "tempo", "acid"),
    "key": ("initialkey", "tkey", "key"),
}
# The demuxer is fixed by the format: probing would try playlists, which name other files.
_DEMUXERS = {"opus": "ogg", "m4a": "mov"}
_NO_GENRE = {  # what says nothing of the sound
    *("other", "unknown", "none", "misc", "miscellaneous", "undefined", "unclassifiable", "default", "genre"),
    *("soundtrack", "game", "video game", "ost", "music", "audio"),
}


@dataclass(frozen=True)
class EmbeddedTags:
    """The tags of one file; None for those that it lacks, or that cannot be read.

    Attributes:
        genre: one or several, separated by commas.
        key: such as `A minor`.
    """

    title: str | None = None
    artist: str | None = None
    album: str | None = None
    genre: str | None = None
    bpm: float | None = None
    key: str | None = None


def embedded_tags(path: Path, format: str) -> EmbeddedTags:
    """The tags of a file, read in a sandbox.

    Args:
        format: one of preprocessing.decode.FORMATS.
    """
    try:
        return parse_tags(DECODING.call(READ_TAGS, read_tags, path, format))
    except Exceeded as reason:
        log.warning("%s: its tags are not used: %s", path.name, reason)
        return EmbeddedTags()


def read_tags(path: Path, format: str) -> dict[str, str]:
    """The tags that `_NAMES` lists, as they are written; to be called in a sandbox."""
    written: dict[str, str] = {}
    for reader in (_by_ffmpeg, _by_libsndfile):  # FFmpeg refuses some Ogg Vorbis files
        try:
            # Without its name, from which soundfile would infer the format.
            with open(os.open(path, os.O_RDONLY), "rb", buffering=0) as file:
                written = reader(file, format)
            break
        except (av.FFmpegError, soundfile.SoundFileError, BadAudio, ValueError):
            continue
    if format == "wav":
        with contextlib.suppress(BadAudio), path.open("rb", buffering=0) as file:
            written["acid"] = str(acid_tempo(file) or "")  # type: ignore[arg-type]
    found = {re.sub("[^a-z]", "", name.lower()): value[: 2 * MAX_LENGTH] for name, value in written.items() if value}
    return {name: found[name] for names in _NAMES.values() for name in names if name in found}


def parse_tags(written: Mapping[str, str]) -> EmbeddedTags:
    """The tags in what a file says; values that cannot be read are left out."""
    values = {
        field: next((written[name] for name in names if name in written), None) for field, names in _NAMES.items()
    }
    texts = {field: clean(values[field] or "", MAX_LENGTH) or None for field in ("title", "artist", "album")}
    return EmbeddedTags(**texts, genre=_genre(values["genre"]), bpm=_read("bpm", values), key=_read("key", values))


def _by_ffmpeg(file: io.FileIO, format: str) -> dict[str, str]:
    demuxer = "w64" if format == "wav" and file.read(4) == b"riff" else _DEMUXERS.get(format, format)
    file.seek(0)
    with av.open(file, format=demuxer, metadata_errors="ignore") as container:
        tags: dict[str, str] = {}
        for track in container.streams.audio:  # Ogg has its tags there
            tags |= track.metadata
        tags |= container.metadata
    if demuxer == "mov":
        with contextlib.suppress(BadAudio):
            tags["tmpo"] = str(itunes_tempo(file) or "")  # type: ignore[arg-type]
    return tags


def _by_libsndfile(file: io.FileIO, format: str) -> dict[str, str]:
    with soundfile.SoundFile(file) as sound:
        return sound.copy_metadata()


def _genre(text: str | None) -> str | None:
    parts = (clean(part, MAX_LENGTH) for part in re.split("[;,\0]", text or ""))
    return ", ".join(part for part in parts if part and part.casefold() not in _NO_GENRE and not part.isdigit()) or None


def _read(field: str, values: Mapping[str, str | None]) -> Any:
    try:
        return FIELDS[field].read(values[field])
    except Unreadable:
        return None
