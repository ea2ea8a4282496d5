"""MP4, M4A and QuickTime, reduced to the first audio track.

Other atoms are not removed, as the index (moov) holds file offsets, but renamed to `free`, which readers skip.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import BinaryIO

from preprocessing.containers.base import MAX_CHUNKS, BadAudio, Demuxed, Layout, Range, View, damaged, read_at, size_of

_MAX_INDEX_BYTES = 64 * 2**20
# More than 4 h of AAC at 96 kHz. FFmpeg allocates about 60 bytes for each.
_MAX_PACKETS = 2_000_000
_KEPT = {
    b"": (b"ftyp", b"moov", b"moof", b"mdat", b"free", b"skip", b"wide"),
    b"moov": (b"mvhd", b"trak", b"mvex"),
    b"trak": (b"tkhd", b"edts", b"mdia"),
    b"mdia": (b"mdhd", b"hdlr", b"minf"),
    b"minf": (b"smhd", b"dinf", b"stbl"),
    b"stbl": (b"stsd", b"stts", b"stsc", b"stsz", b"stz2", b"stco", b"co64", b"sgpd", b"sbgp"),
    b"moof": (b"mfhd", b"traf"),
    b"traf": (b"tfhd", b"tfdt", b"trun"),
}
_CONTAINERS = (b"trak", b"mdia", b"minf", b"stbl", b"traf")
_PROTECTED = (b"enca", b"drms", b"drmi", b"p608")

_Atom = tuple[bytes, int, int, int]  # name, start, start of the content, end


def is_mp4(head: bytes) -> bool:
    return head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide") and head[:4] != b"\xff\xff\xff\xff"


def mp4(file: BinaryIO, start: int, end: int) -> Layout:
    """Parse MP4 from `start`, keeping its first audio track. Raises BadAudio."""
    parts: list[bytes | Range] = []
    indexed = fragments = False
    packets = 0
    for name, at, body, stop in _top(file, start, end):
        header = read_at(file, at, body - at)
        if name == b"moov" and not indexed:
            index = _index(file, at, stop, end)
            packets += _keep_audio(index, body - at)
            parts.append(bytes(index))
            indexed = True
        elif name == b"moof":
            fragment = _index(file, at, stop, end)
            packets += _fragment(fragment, body - at)
            parts.append(bytes(fragment))
            fragments = True
        elif name in _KEPT[b""] and name != b"moov":
            parts += [header, (body, max(0, min(stop, end) - body))]
        else:
            parts += [header[:4] + b"free" + header[8:], (body, max(0, min(stop, end) - body))]
        if packets > _MAX_PACKETS:
            raise damaged("m4a", "its index lists too many packets")
    if not indexed:
        raise damaged("m4a", "its index (moov) is missing: the recording was never finished")
    if not packets and not fragments:
        raise BadAudio("there is no sound in it")
    return Layout("m4a", [Demuxed(View(file, parts), "mov")])


def itunes_tempo(file: BinaryIO) -> int | None:
    """The tempo (`tmpo`) in iTunes's list of tags, which FFmpeg does not read. Raises BadAudio."""
    end = size_of(file)
    movie = next((atom for atom in _top(file, 0, end) if atom[0] == b"moov"), None)
    if movie is None:
        return None
    index = _index(file, movie[1], movie[3], end)
    body, stop = movie[2] - movie[1], len(index)
    for parent, name in pairwise((b"moov", b"udta", b"meta", b"ilst", b"tmpo", b"data")):
        body += 4 * (parent == b"meta")  # version and flags
        atom = next((atom for atom in _children(index, body, stop) if atom[0] == name), None)
        if atom is None:
            return None
        _, _, body, stop = atom
    return int.from_bytes(index[body + 8 : stop][:4], "big")  # after type and locale


def _top(file: BinaryIO, start: int, end: int) -> Iterator[_Atom]:
    at = start
    for _ in range(MAX_CHUNKS):
        if at + 8 > end:
            return
        atom = _atom(read_at(file, at, 16), at, end)
        if atom is None:
            return
        yield atom
        at = atom[3]
    raise BadAudio(f"it has more than {MAX_CHUNKS} atoms; save it again as M4A")


def _atom(head: bytes, at: int, end: int) -> _Atom | None:
    size, name, body = int.from_bytes(head[:4], "big"), head[4:8], 8
    if size == 1:
        size, body = int.from_bytes(head[8:16], "big"), 16
    elif size == 0:
        size = end - at
    return (name, at, at + body, at + size) if size >= body and len(name) == 4 else None


def _index(file: BinaryIO, at: int, stop: int, end: int) -> bytearray:
    if stop > end:
        raise damaged("m4a", "its index ends early")
    if stop - at > _MAX_INDEX_BYTES:
        raise damaged("m4a", f"its index is over {_MAX_INDEX_BYTES // 2**20} MB")
    return bytearray(read_at(file, at, stop - at))


def _children(data: bytearray, start: int, stop: int) -> list[_Atom]:
    """The atoms from `start` to `stop`. Raises BadAudio if one extends beyond."""
    found: list[_Atom] = []
    at = start
    while at + 8 <= stop:
        atom = _atom(bytes(data[at : at + 16]), at, stop)
        if atom is None or atom[3] > stop or len(found) > MAX_CHUNKS:
            if not any(data[at : at + 4]):  # QuickTime ends some lists with a zero
                break
            raise damaged("m4a", "its index is broken")
        found.append(atom)
        at = atom[3]
    return found


def _kept(data: bytearray, parent: bytes, start: int, stop: int) -> list[_Atom]:
    """The child atoms that are needed; the others are renamed to `free`."""
    kept = []
    for atom in _children(data, start, stop):
        if atom[0] == b"cmov":
            raise BadAudio("its index is compressed (QuickTime's cmov); save it again as M4A or WAV")
        if atom[0] in _KEPT[parent]:
            kept.append(atom)
        else:
            _free(data, atom)
    return kept


def _free(data: bytearray, atom: _Atom) -> None:
    data[atom[1] + 4 : atom[1] + 8] = b"free"


def _keep_audio(data: bytearray, body: int) -> int:
    """Keep the first audio track only. Returns the number of packets that its index lists."""
    packets: int | None = None
    for atom in _kept(data, b"moov", body, len(data)):
        if atom[0] != b"trak":
            continue
        listed = _track(data, atom)
        if listed is None or packets is not None:
            _free(data, atom)
        else:
            packets = listed
    if packets is None:
        raise BadAudio("there is no audio track in it")
    return packets


def _track(data: bytearray, track: _Atom) -> int | None:
    """The number of packets of a track; None if it is not audio."""
    atoms = {name: (body, stop) for name, body, stop in _within(data, track)}
    if b"hdlr" not in atoms or bytes(data[atoms[b"hdlr"][0] + 8 : atoms[b"hdlr"][0] + 12]) != b"soun":
        return None
    if b"stsd" in atoms and bytes(data[atoms[b"stsd"][0] + 12 : atoms[b"stsd"][0] + 16]) in _PROTECTED:
        raise BadAudio("it is protected against copying (DRM); send a file that is not")
    for name in (b"stsz", b"stz2"):
        if name in atoms:
            body, stop = atoms[name]
            each, count = (int.from_bytes(data[body + at : body + at + 4], "big") for at in (4, 8))
            if _is_pcm(data, atoms.get(b"stts")):
                return min(count, 1)  # FFmpeg reads them in chunks
            if name == b"stsz" and each:
                return count
            if count > 2 * (stop - body):
                raise damaged("m4a", "its index lists more packets than it holds")
            return count
    return 0


def _is_pcm(data: bytearray, times: Range | None) -> bool:
    """Whether each packet is one sample long, by the table of durations (stts) at `times`."""
    return times is not None and data[times[0] + 4 : times[0] + 8] == b"\0\0\0\1" == data[times[0] + 12 : times[0] + 16]


def _within(data: bytearray, atom: _Atom) -> Iterator[tuple[bytes, int, int]]:
    """The needed atoms inside an atom, at any depth: name, start of the content, end."""
    for child in _kept(data, atom[0], atom[2], atom[3]):
        name, _, body, stop = child
        if name in _CONTAINERS:
            yield from _within(data, child)
        else:
            yield name, body, stop


def _fragment(data: bytearray, body: int) -> int:
    """The number of packets that a movie fragment (moof) lists."""
    packets = 0
    for atom in _kept(data, b"moof", body, len(data)):
        if atom[0] == b"traf":
            runs = (place for name, place, _ in _within(data, atom) if name == b"trun")
            packets += sum(int.from_bytes(data[place + 4 : place + 8], "big") for place in runs)
    return packets
