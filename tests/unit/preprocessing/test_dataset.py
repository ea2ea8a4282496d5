"""Whole datasets: from uploads and URLs, native and raw, refused sources."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from contract import State, TrainRequest
from core.errors import Refusal
from core.settings import Settings
from preprocessing import sources
from preprocessing.captions import DEFAULT_TEXT, Caption
from preprocessing.fetch import fetch
from preprocessing.sources import check_sources
from storage import Storage, keys
from tests.sounds import RATE, written
from tests.unit.preprocessing.helpers import digests, make, peak_decibels, tone, with_nan


@pytest.mark.slow
def test_a_dataset_from_uploads(store: Storage, tmp_path: Path) -> None:
    song = tone(35.2)
    song[15 * RATE : 30 * RATE] = 0
    store.put("uploads/p/u/one.wav", written(song))
    store.put("uploads/p/u/two.bin", written(tone(16), format="FLAC"))
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
    assert made.clips[0].caption == Caption(f"{DEFAULT_TEXT}, One", 120, "A major")  # a chord of A, C# and E
    assert made.clips[2].caption == Caption(DEFAULT_TEXT, None, "A major")
    for clip in made.clips:
        info = soundfile.info(clip.path)
        assert (info.samplerate, info.channels, info.subtype, info.format) == (RATE, 1, "PCM_16", "WAV")
        assert peak_decibels(soundfile.read(clip.path, dtype="int16")[0]) == pytest.approx(-1, abs=0.1)
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


@pytest.mark.slow
def test_native_and_raw(store: Storage, tmp_path: Path) -> None:
    data = written(tone(17), format="MP3")
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
    # The folder has the newest job's files only; the two WAV files of the former job are gone.
    assert [entry.key for entry in store.list("training_data/p/audio/")] == [keys.training_audio("p", 0, "mp3")]
    assert [entry.key for entry in store.list("job_data/native/")] == [keys.job_audio("native", n) for n in (0, 1)]


@pytest.mark.slow
def test_a_dataset_from_urls(store: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "fetch", partial(fetch, is_allowed=lambda address: address.is_loopback))
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "beat").write_bytes(written(tone(3), format="OGG"))

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), lambda *a: Quiet(*a, directory=str(tmp_path / "www"))) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/beat"
        made = make(store, tmp_path, upload_urls=[f"{url}?key=hidden"])
        before = digests(store, "")
        with pytest.raises(Refusal, match=r"upload_urls\[1\]") as refusal:
            make(store, tmp_path, "bad", upload_urls=[url, f"{url}less"])
        server.shutdown()
    assert refusal.value.status == 400
    assert digests(store, "") == before
    assert store.get(keys.dataset_clip("p", "j", 0, "ogg")) == (tmp_path / "www" / "beat").read_bytes()
    assert made.record["files"][0]["source"] == url
    assert made.record["files"][0]["path"] == "/data/datasets/p/j/clip_0000.ogg"
    # A download can be trained on again by its path.
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
        store.put(f"uploads/{producer}/u/good.wav", written(tone(2)))
    before = digests(store, "")
    request = TrainRequest.model_validate({"producer_id": "p"} | body)
    with pytest.raises(Refusal) as refusal:
        check_sources(request, store, Settings())
    assert (refusal.value.status, says in refusal.value.message) == (status, True)
    if name not in ("private", "scheme"):
        with pytest.raises(Refusal) as refusal:
            make(store, tmp_path, tagger=None, **body)
        assert (refusal.value.status, says in refusal.value.message) == (status, True)
    assert digests(store, "") == before


def test_good_sources_pass(store: Storage) -> None:
    store.put("uploads/p/u/good.wav", b"x")
    request = TrainRequest(producer_id="p", upload_paths=["/data/uploads/p/u/good.wav"], tag_before_train=True)
    check_sources(request, store, Settings(gemini_api_key="key"))
    check_sources(TrainRequest(producer_id="p", upload_urls=["https://example.com/a"]), store, Settings())


@pytest.mark.slow
@pytest.mark.parametrize("raw", [True, False])
@pytest.mark.parametrize(
    ("data", "says"),
    [
        (written(tone(0.9)), "no second of audible sound"),
        (written(np.zeros((RATE * 20, 2))), "no second of audible sound"),
        (with_nan(), r"upload_paths\[0\]: /data/uploads/p/u/a.wav: it has samples"),
        (written(tone(3), format="FLAC")[:-50_000], r"upload_paths\[0\]: .*cut off"),
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


@pytest.mark.slow
def test_the_front_does_not_import_heavy_libraries() -> None:
    code = "import preprocessing.dataset, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "librosa", "numba", "google.genai", "boto3"} & set(done.stdout.split())
