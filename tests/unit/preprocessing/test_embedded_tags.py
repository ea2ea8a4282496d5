"""Tags inside files of each container, read in the sandbox."""

from __future__ import annotations

import resource
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from preprocessing import embedded_tags as module
from preprocessing.embedded_tags import EmbeddedTags, embedded_tags, parse_tags
from preprocessing.isolation import DECODING, READ_TAGS
from storage import Storage
from tests.sounds import RATE, written
from tests.unit.preprocessing.helpers import make, tone

TEXTS = {"title": "Nacht – Ω", "artist": "Ada", "album": "One", "genre": "Techno;Minimal"}
TEMPO = {"TBPM": "128", "TKEY": "F#m"}
ALL = EmbeddedTags("Nacht – Ω", "Ada", "One", "Techno, Minimal", 128.0, "F# minor")


def encoded(path: Path, muxer: str, codec: str, tags: dict[str, str], options: dict[str, str] | None = None) -> Path:
    """One second of a tone, with tags, as FFmpeg writes them."""
    with av.open(str(path), "w", format=muxer, container_options=options or {}) as container:
        stream: Any = container.add_stream(codec, rate=48_000)
        stream.layout = "mono"
        container.metadata.update(tags)
        frame = av.AudioFrame.from_ndarray(tone(1, 48_000, 1).T.astype(np.float32), format="fltp", layout="mono")
        frame.sample_rate = 48_000
        for part in av.AudioResampler(format=stream.format, layout="mono", rate=48_000).resample(frame):
            for each in part if isinstance(part, list) else [part]:
                container.mux(stream.encode(each))
        container.mux(stream.encode(None))
    return path


def chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)


def frames(tags: dict[str, str]) -> bytes:
    """Text frames of ID3v2.3 in UTF-16."""
    contents = {name: b"\1" + text.encode("utf-16") for name, text in tags.items()}
    return b"".join(name.encode() + struct.pack(">IH", len(text), 0) + text for name, text in contents.items())


def synchsafe(number: int) -> bytes:
    """The 28 bits that ID3v2 spreads over four bytes."""
    return bytes(number >> shift & 127 for shift in (21, 14, 7, 0))


def with_frames(content: bytes) -> bytes:
    """An ID3v2.3 tag."""
    return b"ID3\3\0\0" + synchsafe(len(content)) + content


def with_chunk(path: Path, more: bytes) -> Path:
    data = written(tone(1)) + more
    path.write_bytes(data[:4] + struct.pack("<I", len(data) - 8) + data[8:])
    return path


def id3_in_wav(path: Path) -> Path:
    names = {"TIT2": "title", "TPE1": "artist", "TALB": "album", "TCON": "genre"}
    return with_chunk(
        path, chunk(b"id3 ", with_frames(frames({name: TEXTS[text] for name, text in names.items()} | TEMPO)))
    )


def riff_info(path: Path) -> Path:
    names = {b"INAM": "title", b"IART": "artist", b"IPRD": "album", b"IGNR": "genre"}
    parts = b"".join(chunk(name, TEXTS[text].encode() + b"\0") for name, text in names.items())
    return with_chunk(path, chunk(b"LIST", b"INFO" + parts))


def vorbis(path: Path) -> Path:
    with soundfile.SoundFile(path, "w", RATE, 1, format="OGG", subtype="VORBIS") as file:
        file.title, file.artist, file.album, file.genre = TEXTS.values()
        file.write(tone(1, channels=1))
    return path


def itunes(path: Path) -> Path:
    """With the tempo as iTunes's number, and the key as the text that DJ programs write."""
    encoded(path, "ipod", "aac", TEXTS | {"tmpo": "128"})

    def atom(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", 8 + len(content)) + name + content

    key = atom(
        b"----",
        atom(b"mean", bytes(4) + b"com.apple.iTunes")
        + atom(b"name", bytes(4) + b"initialkey")
        + atom(b"data", struct.pack(">II", 1, 0) + b"F#m"),
    )
    data = path.read_bytes()
    at = data.index(b"ilst")
    end = at - 4 + int.from_bytes(data[at - 4 : at], "big")
    data = data[:end] + key + data[end:]
    for name in (b"ilst", b"meta", b"udta", b"moov"):  # FFmpeg writes the index last, so no offset changes
        at = data.rindex(name, 0, at + 4)
        size = int.from_bytes(data[at - 4 : at], "big") + len(key)
        data = data[: at - 4] + struct.pack(">I", size) + data[at:]
    path.write_bytes(data)
    return path


def acid(tempo: float, flags: int = 0) -> bytes:
    """The chunk of loop libraries: flags, root note, two unknown values, beats, metre, tempo."""
    return chunk(b"acid", struct.pack("<IHHfIHHf", flags, 60, 0, 0.0, 8, 4, 4, tempo))


NO_TEMPO = EmbeddedTags("Nacht – Ω", "Ada", "One", "Techno, Minimal")
FILES: dict[str, tuple[str, Callable[[Path], Path], EmbeddedTags]] = {
    "mp3": ("mp3", lambda path: encoded(path, "mp3", "libmp3lame", TEXTS | TEMPO), ALL),
    "flac": ("flac", lambda path: encoded(path, "flac", "flac", TEXTS | {"BPM": "128", "INITIALKEY": "11A"}), ALL),
    "opus": ("opus", lambda path: encoded(path, "ogg", "libopus", TEXTS | {"bpm": "128.00", "KEY": "F#m"}), ALL),
    "vorbis": ("ogg", vorbis, NO_TEMPO),
    "m4a": ("m4a", itunes, ALL),
    "id3 in wav": ("wav", id3_in_wav, ALL),
    "riff info": ("wav", riff_info, NO_TEMPO),
    "aiff": ("aiff", lambda path: encoded(path, "aiff", "pcm_s16be", TEXTS | TEMPO, {"write_id3v2": "1"}), ALL),
    "caf": ("caf", lambda path: encoded(path, "caf", "pcm_s16be", TEXTS), NO_TEMPO),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_tags_of_each_container(name: str, tmp_path: Path) -> None:
    format, write, expected = FILES[name]
    assert embedded_tags(write(tmp_path / f"a.{format}"), format) == expected


@pytest.mark.slow
@pytest.mark.parametrize(
    ("chunks", "tempo"),
    [
        (acid(92.5), 92.5),
        (acid(92.5, flags=2 | 4), 92.5),
        (acid(92.5, flags=1), None),  # one-shot
        (acid(0.0), None),
        (acid(float("nan")), None),
        (acid(1e30), None),
        (acid(92.5)[:20], None),
        (chunk(b"LIST", b"INFO" + chunk(b"INAM", acid(92.5))), None),
        (chunk(b"id3 ", with_frames(frames({"TBPM": "128"}))) + acid(92.5), 128.0),
    ],
)
def test_the_tempo_of_wav_loops(chunks: bytes, tempo: float | None, tmp_path: Path) -> None:
    assert embedded_tags(with_chunk(tmp_path / "a.wav", chunks), "wav").bpm == tempo


def test_the_tempo_of_loops_in_big_endian(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(1), RATE, format="WAV", endian="BIG")
    data = path.read_bytes() + b"acid" + struct.pack(">IIHHfIHHf", 24, 0, 60, 0, 0.0, 8, 4, 4, 92.5)
    path.write_bytes(data[:4] + struct.pack(">I", len(data) - 8) + data[8:])
    assert data[:4] == b"RIFX"
    assert embedded_tags(path, "wav").bpm == 92.5


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a.mp3", "a.raw"])  # soundfile takes a file called .raw for one without a header
def test_a_file_whose_tags_cannot_be_read_has_none(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / name
    path.write_bytes(b"ID3\3\0\0\x7f\x7f\x7f\x7f" + bytes(100))
    assert embedded_tags(path, "mp3") == EmbeddedTags()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, "read_tags", crash)
        assert embedded_tags(path, "mp3") == EmbeddedTags()
    assert "its tags are not used" in caplog.text


def peak_growth(path: Path) -> int:
    """Bytes by which the process's peak memory grows as tags are read."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    module.read_tags(path, "mp3")
    return 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)


@pytest.mark.slow
def test_a_tag_that_inflates_costs_no_memory(tmp_path: Path) -> None:
    """A compressed frame of ID3v2.4 that claims to be 1 GiB and holds 128 MiB, before a title."""
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(bytes(2**24)) for _ in range(8)) + packer.flush()
    bomb = b"TIT3" + synchsafe(4 + len(packed)) + struct.pack(">HI", 0x0009, 2**30) + packed
    content = bomb + b"TIT2" + synchsafe(2) + bytes(2) + b"\3A"
    path = encoded(tmp_path / "a.mp3", "mp3", "libmp3lame", {})
    path.write_bytes(b"ID3\4\0\0" + synchsafe(len(content)) + content + path.read_bytes())
    assert embedded_tags(path, "mp3").title in (None, "A")
    assert DECODING.call(READ_TAGS, peak_growth, path) < 2**24


def crash(path: Path, format: str) -> dict[str, str]:
    import os

    os._exit(1)


def test_ffmpeg_follows_no_playlist(tmp_path: Path) -> None:
    secret = encoded(tmp_path / "secret.mp3", "mp3", "libmp3lame", TEXTS)
    path = tmp_path / "a.mp3"
    path.write_text(f"#EXTM3U\n#EXTINF:1,\n{secret}\n")
    assert embedded_tags(path, "mp3") == EmbeddedTags()


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ({"genre": "Other"}, EmbeddedTags()),
        ({"genre": "17"}, EmbeddedTags()),
        ({"genre": "a\nb\x00House, Unknown"}, EmbeddedTags(genre="a b, House")),
        ({"tbpm": "0", "tkey": "o"}, EmbeddedTags()),
        ({"tbpm": "fast", "tkey": "Am7"}, EmbeddedTags()),
        ({"title": "x" * 900}, EmbeddedTags(title="x" * 200)),
    ],
)
def test_values_that_say_nothing(written: dict[str, str], expected: EmbeddedTags) -> None:
    assert parse_tags(written) == expected


NAMES = sorted({name for names in module._NAMES.values() for name in names})


@given(st.dictionaries(st.sampled_from(NAMES), st.text(max_size=300)))
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_any_tags_are_short_lines_of_known_notation(written: dict[str, str]) -> None:
    found = parse_tags(written)
    for text in (found.title, found.artist, found.album, found.genre, found.key):
        assert text is None or (text and text.isprintable() and len(text) <= 700)
    assert found.bpm is None or 30 <= found.bpm <= 300


@pytest.mark.slow
def test_a_dataset_uses_the_tags_inside_its_files(store: Storage, tmp_path: Path) -> None:
    store.put("uploads/p/u/one.wav", id3_in_wav(tmp_path / "a.wav").read_bytes())
    path = ["/data/uploads/p/u/one.wav"]
    made = make(store, tmp_path, upload_paths=path)
    (file,) = made.record["files"]
    assert file["embedded"] == {
        "title": "Nacht – Ω",
        "artist": "Ada",
        "album": "One",
        "genre": "Techno, Minimal",
        "bpm": 128.0,
        "key": "F# minor",
    }
    caption = made.record["segments"][0]["caption"]
    assert (caption["text"], caption["bpm"], caption["key"]) == ("Techno, Minimal", 128, "F# minor")
    assert caption["sources"] == {
        "text": {"Techno": "embedded", "Minimal": "embedded"},
        "bpm": "embedded",
        "key": "embedded",
    }
    # The client's words come first.
    stated = make(store, tmp_path, "k", upload_paths=path, metadata_per_file=[{"genre": "house", "bpm": 64}])
    caption = stated.record["segments"][0]["caption"]
    assert (caption["text"], caption["bpm"], caption["key"]) == ("house", 64, "F# minor")
    assert caption["sources"] == {"text": {"house": "metadata"}, "bpm": "metadata", "key": "embedded"}
