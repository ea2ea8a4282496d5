"""Decoding, segmenting, captions and whole datasets, on real files."""

from __future__ import annotations

import hashlib
import io
import json
import random
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from contract import State, TrainRequest
from core.errors import Refusal
from core.settings import Settings
from preprocessing import training_view
from preprocessing.captions import NOTHING_KNOWN, Caption, Known, caption
from preprocessing.dataset import Dataset, check_sources, prepare
from preprocessing.decode import BadAudio, blocks, check_bytes, probe
from preprocessing.segment import load, segments, to_pcm16
from storage import Storage, keys, leases, open_storage
from tests.api import wait_until

RATE = 44_100
KINDS = {
    "wav": {"subtype": "PCM_16"},
    "8.wav": {"subtype": "PCM_U8"},
    "24.wav": {"subtype": "PCM_24"},
    "float.wav": {"subtype": "FLOAT"},
    "double.wav": {"subtype": "DOUBLE"},
    "aiff": {"subtype": "PCM_16"},
    "flac": {"subtype": "PCM_16"},
    "mp3": {"subtype": "MPEG_LAYER_III"},
    "ogg": {"subtype": "VORBIS"},
}


def tone(seconds: float, rate: int = RATE, channels: int = 2, level: float = 0.25) -> np.ndarray:
    """A chord, (frames, channels), a little quieter on every further channel."""
    time = np.arange(round(seconds * rate)) / rate
    chord = sum(np.sin(2 * np.pi * pitch * time) for pitch in (220, 277.2, 330)) / 3
    return level * np.outer(chord, 0.8 ** np.arange(channels)).astype(np.float32)


def wav(samples: np.ndarray, rate: int = RATE, **kind: Any) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, **({"format": "WAV"} | kind))
    return file.getvalue()


def aac(path: Path, samples: np.ndarray, rate: int = RATE, container: str | None = None) -> None:
    with av.open(str(path), "w", format=container) as file:
        stream: Any = file.add_stream("aac", rate=rate, layout="stereo")
        for start in range(0, len(samples), 1024):
            frame = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(samples[start : start + 1024].T), format="fltp", layout="stereo"
            )
            frame.sample_rate, frame.pts = rate, start
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))


@pytest.mark.parametrize("kind", KINDS)
def test_formats_by_their_content(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{kind}"
    soundfile.write(path, tone(3), RATE, **KINDS[kind])
    path = path.rename(tmp_path / "misnamed.txt")
    info = probe(path)
    assert (info.format, info.sample_rate, info.channels) == (kind.rpartition(".")[2], RATE, 2)
    assert info.seconds == pytest.approx(3, abs=0.01)
    assert check_bytes(path.read_bytes()) == info
    samples = np.concatenate(list(blocks(path)))
    assert samples.dtype == np.float32
    assert samples.shape == (3 * RATE, 2)
    tolerance = {"8": 0.01, "mp3": 0.02, "ogg": 0.04}.get(kind.partition(".")[0], 1e-4)
    assert np.abs(samples - tone(3))[1000:-1000].max() < tolerance


def test_opus_and_aac(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "opus", tone(3, 48_000), 48_000, format="OGG", subtype="OPUS")
    aac(tmp_path / "song.m4a", tone(3, 48_000), 48_000)
    aac(tmp_path / "aac", tone(3, 48_000), 48_000, "adts")
    for name, format in {"opus": "opus", "song.m4a": "m4a", "aac": "aac"}.items():
        info = check_bytes((tmp_path / name).read_bytes())
        assert (info.format, info.sample_rate, info.channels) == (format, 48_000, 2)
        samples = np.concatenate(list(blocks(tmp_path / name)))
        assert len(samples) == pytest.approx(3 * 48_000, abs=2500)
        assert np.abs(samples).max() == pytest.approx(np.abs(tone(3)).max(), rel=0.05)


def test_what_encoders_add_is_removed(tmp_path: Path) -> None:
    """A click is where it was, and nothing follows the end, in formats whose files tell of the encoder's delay."""
    song = tone(3)
    song[RATE : RATE + 50] = 1.0
    aac(tmp_path / "a.m4a", song)
    soundfile.write(tmp_path / "a.mp3", song, RATE)
    soundfile.write(tmp_path / "a.ogg", song, RATE)
    for path in tmp_path.iterdir():
        samples = np.concatenate(list(blocks(path)))
        assert len(samples) == len(song), path.name
        assert np.abs(samples[:, 0]).argmax() / RATE == pytest.approx(1, abs=0.002), path.name


def test_an_mp3_without_an_index_is_read_to_its_end(tmp_path: Path) -> None:
    """Loud first, so that its length as guessed from its first frames is far too short."""
    song = np.concatenate([np.random.default_rng(0).normal(0, 0.3, (RATE * 5, 2)), np.zeros((RATE * 15, 2))])
    data = wav(song, format="MP3", bitrate_mode="VARIABLE", compression_level=0.3)
    bare = data[data.index(b"\xff\xfb", data.index(b"Xing")) :]
    tagged = b"ID3\x04\0\0\0\0\x08\x00" + bytes(1024) + bare
    for each in (data, bare, tagged):
        check_bytes(each)
        (tmp_path / "x").write_bytes(each)
        assert sum(len(block) for block in blocks(tmp_path / "x")) == pytest.approx(len(song), abs=4000)


def _long_flac() -> bytes:
    """20 h of silence, in a small file."""
    data = bytearray(wav(np.zeros((RATE, 1)), format="FLAC"))
    frames = 20 * 3600 * RATE
    data[21] = (data[21] & 0xF0) | (frames >> 32)
    data[22:26] = (frames & 0xFFFFFFFF).to_bytes(4, "big")
    return bytes(data)


def _with_nan() -> bytes:
    samples = tone(3)
    samples[7, 1] = np.nan
    return wav(samples, subtype="FLOAT")


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "empty"),
    "text": (lambda: b"RIFF is how this text begins, but it is no audio. " * 50, "not audio"),
    "header only": (lambda: wav(np.zeros((0, 1))), "no sound"),
    "half a header": (lambda: wav(tone(1))[:30], "cut off"),
    "cut wav": (lambda: wav(tone(3))[:100_000], "cut off"),
    "cut flac": (lambda: wav(tone(3), format="FLAC")[:-50_000], "cut off"),
    "nan": (_with_nan, "NaN"),
    "infinity": (lambda: wav(np.full((9000, 1), np.inf), subtype="FLOAT"), "NaN or infinity"),
    "integers written as floats": (lambda: wav(tone(3) * 32768, subtype="FLOAT"), "times full scale.*floats within ±1"),
    "64 channels": (lambda: wav(np.zeros((9000, 64))), "64 channels"),
    "1 Hz": (lambda: wav(np.zeros((90, 1)), 1), "sample rate"),
    "1 MHz": (lambda: wav(np.zeros((9000, 1)), 1_000_000), "sample rate"),
    "20 hours": (_long_flac, "longer than 4 hours"),
    "avi": (lambda: b"RIFF\x00\x10\x00\x00AVI LIST" + bytes(4096), "not audio"),
    "playlist": (lambda: b"#EXTM3U\nfile:///etc/passwd\n", "not audio"),
    "picture": (lambda: b"\x89PNG\r\n\x1a\n" + bytes(100), "not audio"),
    "m4a without anything": (lambda: b"\0\0\0\x18ftypM4A " + bytes(500), "moov"),
    "id3 only": (lambda: b"ID3\x04\0\0\x7f\x7f\x7f\x7f" + bytes(100), "not audio"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused_by_name(name: str, tmp_path: Path) -> None:
    make, says = HOSTILE[name]
    data = make()
    with pytest.raises(BadAudio, match=says):
        check_bytes(data)
    (tmp_path / "x.wav").write_bytes(data)
    if name not in ("header only",):
        with pytest.raises(BadAudio, match=says):
            list(segments(tmp_path / "x.wav"))


@pytest.mark.parametrize("first", [1, 2])
def test_an_mp3_that_changes_on_the_way(first: int, tmp_path: Path) -> None:
    halves = [wav(tone(2, channels=channels), format="MP3") for channels in (first, 3 - first)]
    (tmp_path / "x.mp3").write_bytes(b"".join(halves))
    with pytest.raises(BadAudio, match="changes on the way"):
        list(blocks(tmp_path / "x.mp3"))


def test_strange_but_good_files(tmp_path: Path) -> None:
    for samples, rate, kind in (
        (np.array([[0.5]]), RATE, "PCM_16"),
        (tone(2, 96_000, 8), 96_000, "PCM_24"),
        (tone(2) * 31, RATE, "FLOAT"),  # 17 dB over full scale
        (tone(2, 4_000, 1), 4_000, "PCM_U8"),
        (tone(2, 384_000, 1), 384_000, "PCM_16"),
    ):
        data = wav(samples, rate, subtype=kind)
        info = check_bytes(data)
        assert (info.sample_rate, info.channels) == (rate, samples.shape[1])
        (tmp_path / "x").write_bytes(data)
        assert sum(len(block) for block in blocks(tmp_path / "x")) == len(samples)


def test_random_bytes_never_crash(capfd: pytest.CaptureFixture[str]) -> None:
    """Noise behind every format's first bytes, and good files with some bytes changed. (More of them, and through the
    whole of `prepare`: `python -m benchmarks.preprocessing fuzz`.)"""
    source = random.Random(1)
    good = [wav(tone(0.3), format="WAV"), wav(tone(0.3), format="FLAC"), wav(tone(0.3), format="OGG")]
    good.append(wav(tone(0.3), format="MP3"))
    heads = [b"RIFF\xff\xff\xff\x7fWAVEfmt ", b"fLaC", b"OggS", b"\xff\xfb\x90", b"\xff\xf1", b"\0\0\0\x1cftypM4A "]
    for number in range(300):
        if number % 2:
            data = heads[number % len(heads)] + source.randbytes(source.randrange(3000))
        else:
            changed = bytearray(good[number % len(good)])
            for _ in range(source.randrange(1, 20)):
                changed[source.randrange(len(changed))] = source.randrange(256)
            data = bytes(changed)
        with suppress(BadAudio):
            check_bytes(data)
    assert "Traceback" not in capfd.readouterr().err  # of callbacks, which print it and go on


def _decibel(samples: np.ndarray) -> float:
    return float(20 * np.log10(np.abs(samples / 32768).max()))


@pytest.mark.parametrize(("rate", "channels"), [(44_100, 2), (48_000, 1), (22_050, 2), (96_000, 6)])
def test_segments_are_15_s_at_minus_1_db_and_in_place(rate: int, channels: int, tmp_path: Path) -> None:
    song = tone(40.5, rate, channels)
    song[: rate * 15] *= 0.1
    click = round(31.25 * rate)
    song[click] = 1.0
    soundfile.write(tmp_path / "a.wav", song, rate, subtype="FLOAT")
    made = list(segments(tmp_path / "a.wav"))
    assert [segment.start for segment in made] == [0, 15, 30]
    assert [len(segment.samples) for segment in made if segment.samples is not None] == [661_500, 661_500, 463_050]
    for segment in made:
        assert segment.samples is not None
        assert _decibel(to_pcm16(segment.samples)) == pytest.approx(-1, abs=0.01)
    third = made[2].samples
    assert third is not None
    assert np.abs(third).argmax() / RATE == pytest.approx(1.25, abs=0.001)
    expected = tone(40.5, RATE, channels).mean(axis=1)[15 * RATE : 30 * RATE]
    second = made[1].samples
    assert second is not None
    error = second[200:-200, 0] / np.abs(second).max() - expected[200:-200] / np.abs(expected).max()
    assert np.abs(error).max() < 0.005


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(14.9, [14.9]), (15, [15]), (15.99, [15, "short"]), (16, [15, 1]), (0.5, ["short"]), (30, [15, 15])],
)
def test_tails_under_a_second_are_dropped(seconds: float, expected: list[Any], tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(seconds), RATE)
    assert [segment.dropped or segment.seconds for segment in segments(tmp_path / "a.wav")] == expected


def test_silence_is_left_out_and_the_rest_keeps_its_place(tmp_path: Path) -> None:
    song = tone(50, channels=1)
    song[15 * RATE : 30 * RATE] *= 0.0009 / np.abs(song).max()  # just under −60 dBFS
    song[45 * RATE :] *= 0.0012 / np.abs(song).max()  # just over
    soundfile.write(tmp_path / "a.wav", song, RATE, subtype="FLOAT")
    made = list(segments(tmp_path / "a.wav"))
    assert [(segment.start, segment.dropped) for segment in made] == [(0, None), (15, "silent"), (30, None), (45, None)]


def test_native_profile_keeps_stereo(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(4), RATE)
    (segment,) = segments(tmp_path / "a.wav", 48_000, 2)
    assert segment.samples is not None
    assert segment.samples.shape == (192_000, 2)
    left, right = np.abs(segment.samples).max(axis=0)
    assert right / left == pytest.approx(0.8, abs=0.001)
    soundfile.write(tmp_path / "b.wav", tone(4, channels=6), RATE)
    assert load(tmp_path / "b.wav", 32_000, 2).shape == (128_000, 2)


def test_memory_does_not_grow_with_length(tmp_path: Path) -> None:
    """In a process of its own: ten minutes at 48 kHz, stereo, which are 220 MB as floats."""
    minute = tone(60, 48_000)
    with soundfile.SoundFile(tmp_path / "long.flac", "w", 48_000, 2) as file:
        for _ in range(10):
            file.write(minute)
    code = """
import resource, sys
from pathlib import Path
from preprocessing.segment import segments
next(segments(Path(sys.argv[1])))
idle = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
count = sum(segment.samples is not None for segment in segments(Path(sys.argv[1])))
print(count, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - idle) // 1024)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "long.flac")], capture_output=True, text=True, check=True
    )
    count, megabytes = done.stdout.split()
    assert int(count) == 40
    assert int(megabytes) < 50


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({}, Caption(NOTHING_KNOWN)),
        ({"title": "Track 1"}, Caption(f"{NOTHING_KNOWN}, Track 1")),
        (
            {"title": "Night", "tags": ["trap", "dark, 808"], "bpm": 140, "key": "Am", "timeSignature": "4/4"},
            Caption("trap, dark, 808, Night", 140, "A minor", "4"),
        ),
        ({"genre": "Trap", "tags": "trap, hard", "mood": "angry"}, Caption("Trap, hard, angry")),
        ({"bpm": "92.6 BPM", "key": "F♯ Major"}, Caption(NOTHING_KNOWN, 93, "F# major")),
        ({"tempo": "fast", "key": "H", "time_signature": "5/4"}, Caption(NOTHING_KNOWN)),
        ({"bpm": float("nan"), "key": 3, "tags": {"a": 1}, "other": [1]}, Caption(NOTHING_KNOWN)),
        ({"bpm": True, "genre": "a\nb\tc\x00d"}, Caption("a b c d")),
        ({"bpm": 9999, "genre": "x" * 900}, Caption("x" * 200)),
        ({"key": "bb min", "Time Signature": 3}, Caption(NOTHING_KNOWN, None, "Bb minor", "3")),
        ({"key": "C M"}, Caption(NOTHING_KNOWN, None, "C major")),
    ],
)
def test_captions_by_example(metadata: dict[str, Any], expected: Caption) -> None:
    assert caption(Known(metadata=metadata)) == expected


def test_captions_with_tags() -> None:
    line = "drill, sliding 808, glassy pad, tense"
    assert caption(Known(metadata={"genre": "drill", "title": "X"}, tags=line)).text == f"{line}, X"
    assert caption(Known(tags="  \n")).text == NOTHING_KNOWN


@given(
    st.dictionaries(
        st.sampled_from(["title", "bpm", "key", "tags", "mood", "genre", "time_signature", "x"]),
        st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(), st.lists),
    )
)
def test_any_metadata_makes_one_line(metadata: dict[str, Any]) -> None:
    made = caption(Known(metadata=metadata))
    assert made.text
    assert made.text.isprintable()
    assert made.bpm is None or 30 <= made.bpm <= 300


@pytest.fixture
def store(tmp_path: Path) -> Storage:
    return open_storage((tmp_path / "store").as_uri())


def make(
    store: Storage,
    workdir: Path,
    job: str = "j",
    states: list[State] | None = None,
    settings: Settings | None = None,
    **body: Any,
) -> Dataset:
    """Run `prepare` for producer p as the training does."""
    request = TrainRequest.model_validate({"producer_id": "p"} | body)
    heard = states if states is not None else []
    return prepare(
        request,
        job,
        store,
        workdir / job,
        settings or Settings(),
        native_rate=48_000,
        native_channels=2,
        report=heard.append,
    )


def digests(store: Storage, prefix: str) -> dict[str, str]:
    return {entry.key: hashlib.sha256(store.get(entry.key)).hexdigest() for entry in store.list(prefix)}


def test_a_dataset_from_uploads(store: Storage, tmp_path: Path) -> None:
    song = tone(35.2)
    song[15 * RATE : 30 * RATE] = 0
    store.put("uploads/p/u/one.wav", wav(song))
    store.put("uploads/p/u/two.bin", wav(tone(16), format="FLAC"))
    states: list[State] = []
    body: dict[str, Any] = {
        "upload_paths": ["/data/uploads/p/u/one.wav", "/data/uploads/p/u/two.bin"],
        "metadata_per_file": [{"title": "One", "bpm": 120, "odd": [None, 1e308]}],
    }
    made = make(store, tmp_path, states=states, **body)
    assert states == ["preparing"]
    assert [(clip.path.name, clip.seconds, clip.song) for clip in made.clips] == [
        ("seg_0000.wav", 15, 0),
        ("seg_0001.wav", pytest.approx(5.2), 0),
        ("seg_0002.wav", 15, 1),
        ("seg_0003.wav", 1, 1),
    ]
    assert made.clips[0].caption == Caption(f"{NOTHING_KNOWN}, One", 120, "A major")  # a chord of A, C# and E
    assert made.clips[2].caption == Caption(NOTHING_KNOWN, None, "A major")
    for clip in made.clips:
        info = soundfile.info(clip.path)
        assert (info.samplerate, info.channels, info.subtype, info.format) == (RATE, 1, "PCM_16", "WAV")
        assert _decibel(soundfile.read(clip.path, dtype="int16")[0]) == pytest.approx(-1, abs=0.1)
    record = json.loads(store.get(keys.dataset_record("p", "j")))
    assert record == made.record
    assert record == json.loads(store.get(keys.training_record("p")))
    assert [(file["segments"], file["dropped"], file["format"]) for file in record["files"]] == [
        (2, {"silent": 1}, "wav"),
        (2, {}, "flac"),
    ]
    assert record["files"][0]["metadata"] == {"title": "One", "bpm": 120, "odd": [None, 1e308]}
    for part in record["segments"]:
        key = keys.from_path(part["path"])
        assert hashlib.sha256(store.get(key)).hexdigest() == part["sha256"]
    names = [f"audio/seg_{number:04d}.wav" for number in range(4)]
    assert [entry.key for entry in store.list("job_data/")] == [f"job_data/j/{name}" for name in names]
    assert [entry.key for entry in store.list("training_data/p/audio/")] == [
        f"training_data/p/{name}" for name in names
    ]


def test_native_and_raw(store: Storage, tmp_path: Path) -> None:
    data = wav(tone(17), format="MP3")
    store.put("uploads/p/u/one.wav", data)
    path = ["/data/uploads/p/u/one.wav"]
    native = make(store, tmp_path, "native", upload_paths=path, profile="native")
    assert [soundfile.info(clip.path).samplerate for clip in native.clips] == [48_000, 48_000]
    assert soundfile.info(native.clips[0].path).channels == 2
    raw = make(store, tmp_path, "raw", upload_paths=path, skip_preprocess=True)
    assert [clip.path.suffix for clip in raw.clips] == [".mp3"]
    assert raw.clips[0].seconds == pytest.approx(17, abs=0.1)
    assert raw.clips[0].path.read_bytes() == data
    assert store.get(keys.job_audio("raw", 0, "mp3")) == data
    # The newest job's only: the two WAV files of the former are gone.
    assert [entry.key for entry in store.list("training_data/p/audio/")] == [keys.training_audio("p", 0, "mp3")]
    assert [entry.key for entry in store.list("job_data/native/")] == [keys.job_audio("native", n) for n in (0, 1)]


@pytest.mark.parametrize("raw", [True, False])
def test_flaws_are_mended_and_said(raw: bool, store: Storage, tmp_path: Path) -> None:
    """A DC offset goes; of channels that cancel each other one is taken, for stereo as for mono."""
    quiet = tone(4, channels=1) * 0.4
    store.put("uploads/p/u/offset.wav", wav(quiet + 0.7))
    store.put("uploads/p/u/opposite.wav", wav(tone(5, channels=1) * [[0.9, -1]]))
    store.put("uploads/p/u/good.wav", wav(tone(6)))
    paths = [f"/data/uploads/p/u/{name}.wav" for name in ("offset", "opposite", "good")]
    made = make(store, tmp_path, upload_paths=paths, skip_preprocess=raw, profile="native")
    offset, opposite, _ = (load(clip.path, RATE, 2) for clip in made.clips)
    assert abs(offset.mean()) < 1e-3
    for mended, sign in ((offset, 1), (opposite, -1)):
        mono = mended.mean(axis=1)[: 4 * RATE]
        assert np.corrcoef(mono, sign * tone(4, channels=1)[:, 0])[0, 1] > 0.99
    warnings = [file["warnings"] for file in made.record["files"]]
    assert "DC offset of 70% " in warnings[0][0]
    assert "only channel 2 is used" in warnings[1][0]
    assert [len(each) for each in warnings] == [1, 1, 0]
    assert (made.clips[2].path.read_bytes() == wav(tone(6))) == raw
    for part in made.record["segments"]:
        assert hashlib.sha256(store.get(keys.from_path(part["path"]))).hexdigest() == part["sha256"]


@pytest.mark.parametrize(
    ("sound", "says"),
    [
        (tone(3) + 0.02, "DC offset of 2%"),
        (tone(3) - [0.0, 0.3], "DC offset of -30%"),
        (tone(3, channels=1) * [[1, -1]], "cancel each other"),
        (tone(3, channels=1) * [[1, -0.8]], "cancel each other"),
        (tone(3, channels=1) * [[1, -1, 1, -1]] + 0.2, "DC offset.*cancel each other"),
        (tone(3), ""),
        (tone(3, channels=1) * [[1, 0]], ""),
        (tone(3, channels=1) * [[0] * 31 + [1]], ""),
        (np.random.default_rng(0).normal(0, 0.1, (RATE, 32)), ""),
        (np.zeros((RATE, 2)), ""),
    ],
)
def test_flaws_are_said_at_upload(sound: np.ndarray, says: str) -> None:
    warnings = check_bytes(wav(sound)).warnings
    assert bool(warnings) == bool(says)
    assert re.search(says, " ".join(warnings))


def test_a_dataset_from_urls(store: Storage, tmp_path: Path) -> None:
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "beat").write_bytes(wav(tone(3), format="OGG"))

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), lambda *a: Quiet(*a, directory=str(tmp_path / "www"))) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/beat"
        settings = Settings(fetch_allow_loopback=True)
        made = make(store, tmp_path, upload_urls=[f"{url}?key=hidden"], settings=settings)
        before = digests(store, "")
        with pytest.raises(Refusal, match=r"upload_urls\[1\]") as refusal:
            make(store, tmp_path, "bad", upload_urls=[url, f"{url}less"], settings=settings)
        server.shutdown()
    assert refusal.value.status == 400
    assert digests(store, "") == before
    assert store.get(keys.dataset_clip("p", "j", 0, "ogg")) == (tmp_path / "www" / "beat").read_bytes()
    assert made.record["files"][0]["source"] == url
    assert made.record["files"][0]["path"] == "/data/datasets/p/j/clip_0000.ogg"
    # What was fetched once can be trained on again by its path.
    again = make(store, tmp_path, "again", upload_paths=["/data/datasets/p/j/clip_0000.ogg"])
    assert [clip.seconds for clip in again.clips] == [3]


REFUSED: dict[str, tuple[dict[str, Any], int, str]] = {
    "missing": (
        {"upload_paths": ["/data/uploads/p/u/good.wav", "/data/uploads/p/u/no.wav"]},
        404,
        "upload_paths[1]: /",
    ),
    "other producer": ({"upload_paths": ["/data/uploads/q/u/good.wav"]}, 404, "does not exist"),
    "other folder": ({"upload_paths": ["/data/loras/p_m.safetensors"]}, 404, "does not exist"),
    "climbing": ({"upload_paths": ["/data/uploads/p/../q/u/good.wav"]}, 400, "upload_paths[0]: "),
    "machine path": ({"upload_paths": ["/etc/passwd"]}, 400, "/data/"),
    "scheme": ({"upload_urls": ["ftp://example.com/a.wav"]}, 400, "upload_urls[0]: "),
    "private": ({"upload_urls": ["http://1.1.1.1/", "http://10.0.0.1/a.wav"]}, 400, "upload_urls[1]: "),
    "no key": ({"upload_paths": ["/data/uploads/p/u/good.wav"], "tag_before_train": True}, 400, "GEMINI_API_KEY"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_sources_that_are_refused_at_once(name: str, store: Storage, tmp_path: Path) -> None:
    body, status, says = REFUSED[name]
    for producer in ("p", "q"):
        store.put(f"uploads/{producer}/u/good.wav", wav(tone(2)))
    before = digests(store, "")
    request = TrainRequest.model_validate({"producer_id": "p"} | body)
    with pytest.raises(Refusal) as refusal:
        check_sources(request, store, Settings())
    assert (refusal.value.status, says in refusal.value.message) == (status, True)
    if name not in ("private", "scheme"):
        with pytest.raises(Refusal) as refusal:
            make(store, tmp_path, **body)
        assert (refusal.value.status, says in refusal.value.message) == (status, True)
    assert digests(store, "") == before


def test_good_sources_pass(store: Storage) -> None:
    store.put("uploads/p/u/good.wav", b"x")
    request = TrainRequest(producer_id="p", upload_paths=["/data/uploads/p/u/good.wav"], tag_before_train=True)
    check_sources(request, store, Settings(gemini_api_key="key"))
    check_sources(TrainRequest(producer_id="p", upload_urls=["https://example.com/a"]), store, Settings())


@pytest.mark.parametrize("raw", [True, False])
@pytest.mark.parametrize(
    ("data", "says"),
    [
        (wav(tone(0.9)), "no second of audible sound"),
        (wav(np.zeros((RATE * 20, 2))), "no second of audible sound"),
        (_with_nan(), r"upload_paths\[0\]: /data/uploads/p/u/a.wav: it has samples"),
        (wav(tone(3), format="FLAC")[:-50_000], r"upload_paths\[0\]: .*cut off"),
        (b"text", r"upload_paths\[0\]: .*not audio"),
    ],
)
def test_audio_that_cannot_be_used_leaves_nothing(
    data: bytes, says: str, raw: bool, store: Storage, tmp_path: Path
) -> None:
    store.put("uploads/p/u/a.wav", data)
    before = digests(store, "")
    with pytest.raises(Refusal, match=says) as refusal:
        make(store, tmp_path, upload_paths=["/data/uploads/p/u/a.wav"], skip_preprocess=raw)
    assert refusal.value.status == 400
    assert digests(store, "") == before


def test_two_jobs_never_mix_in_the_view(store: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "POLL", 0.01)

    def publish(job: int) -> None:
        files: dict[str, training_view.Content] = {
            keys.training_audio("p", number): f"{job}".encode() for number in range(5 + job)
        }
        training_view.replace(store, "p", str(job), files, f"{job}".encode())

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(publish, range(8)))
    found = {entry.key: store.get(entry.key) for entry in store.list("training_data/p/")}
    newest = found[keys.training_record("p")]
    assert set(found.values()) == {newest}
    assert len(found) == 6 + int(newest)


def test_the_lease_of_a_dead_process_is_taken_over(store: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "POLL", 0.01)
    monkeypatch.setattr(leases, "EXPIRY", 0.3)
    monkeypatch.setattr(leases, "RENEW", 0.05)
    store.put(keys.training_lease("p"), b'{"by": "dead", "token": "a"}')
    start = time.monotonic()
    training_view.replace(store, "p", "alive", {keys.training_audio("p", 0): b"new"}, b"record")
    assert time.monotonic() - start >= 0.3
    assert store.get(keys.training_record("p")) == b"record"
    # Who stood still and lost the lease finds out, and does no more.
    with leases.lease(store, keys.training_lease("p"), "slow") as check:
        check()
        store.put(keys.training_lease("p"), b'{"by": "faster", "token": "b"}')
        with pytest.raises(leases.Lost):
            wait_until(check, pause=0.01)
    assert store.get(keys.training_lease("p")) == b'{"by": "faster", "token": "b"}'


def test_the_newest_record_is_there_at_any_time(store: Storage, tmp_path: Path) -> None:
    assert training_view.newest(store, "p") is None
    store.put("uploads/p/u/a.wav", wav(tone(2)))
    for job in ("b", "a"):
        made = make(store, tmp_path, job, upload_paths=["/data/uploads/p/u/a.wav"])
        for _ in range(2):
            assert training_view.newest(store, "p") == made.record
            store.delete(keys.training_record("p"))  # as while the folder is being replaced


def test_the_front_can_import_it_cheaply() -> None:
    code = "import preprocessing.dataset, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "librosa", "numba", "google.genai", "boto3"} & set(done.stdout.split())
