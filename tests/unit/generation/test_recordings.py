"""Recordings that requests name: where they are found, whose they are, and how often they are decoded."""

from __future__ import annotations

import asyncio
import io
import tempfile
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import soundfile

from core import principal
from core.errors import Refusal
from core.principal import Principal
from generation.editing.recordings import Recording, Recordings
from generation.outbox import Outbox
from preprocessing.containers.base import BadAudio
from preprocessing.recording import Target
from storage import Storage, keys
from tests.sounds import chord, written

TARGET = Target(48_000, 2, 60.0, excerpt=True)
SOURCE = Target(48_000, 2, 60.0)
SONG = written(chord(1.0))
TRACK = keys.to_path(keys.output(None, "a", "wav"))
UPLOAD = keys.to_path(keys.upload("ada", "takes", "a.wav"))


@pytest.fixture
def recordings(store: Storage, tmp_path: Path) -> Recordings:
    for path in (TRACK, UPLOAD):
        store.put(keys.from_path(path), SONG)
    return Recordings(Outbox(store, "recordings", tmp_path / "outbox"))


@pytest.mark.slow
def test_a_source_is_the_file_and_the_models_copy_of_it(recordings: Recordings) -> None:
    source = asyncio.run(recordings.source(UPLOAD, None, SOURCE))
    assert (source.name, source.owner, source.sample_rate, source.sample_format) == (UPLOAD, "ada", 44_100, "int16")
    assert source.samples.shape == (44_100, 2) and source.seconds == 1
    copy, rate = soundfile.read(io.BytesIO(source.audio.flac))
    assert (copy.shape, rate) == ((48_000, 2), 48_000)
    assert asyncio.run(recordings.source(TRACK, None, SOURCE)).owner is None


def test_a_reference_is_decoded_once_for_as_long_as_it_is_the_same(recordings: Recordings, store: Storage) -> None:
    first, again = (asyncio.run(recordings.reference(UPLOAD, None, TARGET)).audio for _ in range(2))
    assert again is first
    store.put(keys.from_path(UPLOAD), written(chord(2.0)))
    changed = asyncio.run(recordings.reference(UPLOAD, None, TARGET)).audio
    assert changed.sha256 != first.sha256


def test_files_that_are_sent(recordings: Recordings) -> None:
    def sent(path: str | None = None) -> Recording:
        with tempfile.TemporaryFile(buffering=0) as file:
            file.write(SONG)
            return asyncio.run(recordings.reference(path, file, TARGET))

    found = sent()
    assert (found.name, found.owner) == (f"sha256:{sha256(SONG).hexdigest()}", None)
    assert sent().audio is found.audio
    with pytest.raises(Refusal, match="reference: send a path or a file"):
        sent(UPLOAD)


def test_a_producers_newest_upload(recordings: Recordings, store: Storage) -> None:
    newest = keys.upload("ada", "takes", "0.wav")
    store.put(newest, written(chord(2.0)))
    found = asyncio.run(recordings.reference("producer:ada", None, TARGET))
    assert (found.name, found.owner) == (keys.to_path(newest), "ada")


def test_a_track_by_its_id(recordings: Recordings, store: Storage) -> None:
    """Of the tracks with an id, only those that the client may fetch are found."""
    tracks = {
        "base:1": keys.output(None, "1", "wav"),
        "twins:ada:2": keys.output("ada", "2", "flac"),
        "twins:bob:3": keys.output("bob", "3", "wav"),
        "made:me:4": keys.output(None, "4", "mp3", "me"),
        "made:another:5": keys.output(None, "5", "wav", "another"),
    }
    for key in tracks.values():
        store.put(key, SONG)
    for key in (keys.latents(tracks["base:1"]), keys.latents(keys.output(None, "6", "wav"))):
        store.put(key, b"latents")

    def found(*names: str) -> list[str | None]:
        result: list[str | None] = []
        for name in names:
            try:
                result.append(keys.from_path(asyncio.run(recordings.reference(name, None, TARGET)).name))
            except Refusal as refusal:
                assert refusal.status == 404
                result.append(None)
        return result

    assert found(*tracks) == list(tracks.values())
    assert found("base:6", "base:..", "twins:..:a") == [None] * 3
    with principal.acting(Principal("ada", frozenset({"generate"}), frozenset({"ada"}), tracks="me")):
        expected = {name: None if "bob" in name or "another" in name else key for name, key in tracks.items()}
        assert found(*tracks) == list(expected.values())


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (None, 400),
        ("a.wav", 400),
        ("producer:ada", 400),
        ("/data/uploads/ada/../../x", 400),
        ("/data/uploads/ada/takes", 404),
        ("/data/uploads/ada/takes/b.wav", 404),
        ("/data/outputs/base/b.wav", 404),
        ("/data/outputs/twins/ada", 404),
        ("/data/api_keys/a.json", 404),
        ("/data/loras/ada_night.safetensors", 404),
        ("/data/datasets/ada/j/clip_0000.wav", 404),
    ],
)
def test_sources_that_are_not_there(recordings: Recordings, path: str | None, status: int) -> None:
    with pytest.raises(Refusal, match="source") as refused:
        asyncio.run(recordings.source(path, None, SOURCE))
    assert refused.value.status == status


def test_what_a_key_does_not_see_is_not_there(recordings: Recordings, store: Storage) -> None:
    theirs = keys.to_path(keys.output("ada", "b", "wav"))
    store.put(keys.from_path(theirs), SONG)
    bob = Principal("bob", frozenset({"generate", "train"}), frozenset({"bob"}))
    artist = Principal("artist", frozenset({"generate"}))
    with principal.acting(bob):
        for path in (UPLOAD, theirs):
            with pytest.raises(Refusal, match="does not exist"):
                asyncio.run(recordings.source(path, None, SOURCE))
        with pytest.raises(Refusal, match="no uploads of producer ada"):
            asyncio.run(recordings.reference("producer:ada", None, TARGET))
        assert asyncio.run(recordings.source(TRACK, None, SOURCE)).seconds == 1
    with principal.acting(artist):
        assert asyncio.run(recordings.source(theirs, None, SOURCE)).owner == "ada"
        assert asyncio.run(recordings.reference(UPLOAD, None, TARGET)).owner == "ada"
        with pytest.raises(Refusal, match="/generate/form") as refused:
            asyncio.run(recordings.source(UPLOAD, None, SOURCE))
        assert refused.value.status == 403


def test_one_client_leaves_a_slot_to_others(recordings: Recordings, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[str] = []

    class Slow:
        async def run(self, *call: Any) -> None:
            begun.append(principal.current().name)
            await asyncio.sleep(0.05)
            raise BadAudio("it is damaged")

    monkeypatch.setattr("generation.editing.recordings.DECODING", Slow())

    async def run() -> None:
        asked = []
        for name in ("a", "a", "a", "b"):
            with principal.acting(Principal(name)):
                asked.append(asyncio.create_task(recordings.source(UPLOAD, None, SOURCE)))
        await asyncio.gather(*asked, return_exceptions=True)

    asyncio.run(run())
    assert sorted(begun[:2]) == ["a", "b"] and len(begun) == 4
