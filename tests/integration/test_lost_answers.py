"""The Python client behind a proxy that loses answers: it sends the request again, and nothing is made twice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from producer_twin import ProducerTwin, Retry

from tests.api import Api, beat
from tests.conftest import IS_WEB
from tests.lossy_proxy import Loss, lossy

KEY = IS_WEB["MUSIC_SERVICE_API_KEY"]
FAST = Retry(base_seconds=0.01)
# `uploads/link` needs S3.
ONCE = {
    "/uploads",
    "/store-upload",
    "/train",
    "/train/submit",
    "/loras/{producer}:night/retrain",
    "/loras/import",
    "/generate",
    "/generate/form",
    "/generate/submit",
}


@pytest.fixture
def song(tmp_path: Path) -> Path:
    path = tmp_path / "beat.wav"
    path.write_bytes(beat(4))
    return path


@pytest.mark.parametrize("loss", ["closed", 502, 504])
def test_nothing_is_made_twice(api: Api, song: Path, tmp_path: Path, loss: Loss) -> None:
    producer = f"lossy-{loss}"
    with lossy(api.server.url, loss) as proxy, ProducerTwin(proxy.url, KEY, retry=FAST) as studio:
        path = studio.uploads.upload(producer, song).path
        studio.uploads.store(producer, song.read_bytes(), filename="again.wav")
        made = studio.training.train(producer, [path], model_name="night", max_steps=1)
        submitted = studio.training.submit(producer, [path], model_name="dawn", max_steps=1)
        retrained = studio.twins.retrain(f"{producer}:night", max_steps=1)
        for job_id in (submitted.job_id, retrained.job_id):
            studio.job(job_id).wait()
        adapter = studio.twins.export(f"{producer}:night", tmp_path / "night.safetensors")
        studio.twins.import_adapter(producer, "imported", adapter)

        words = f"{producer} kookaburra"
        short = {"duration_seconds": 1, "lora_id": f"{producer}:night"}
        tracks = [
            studio.generate(f"{words} one", **short).output_path,
            studio.generate(f"{words} two", source_file=song, task="repaint", start=1, end=2).output_path,
            studio.tracks.wait(studio.tracks.submit(f"{words} three", **short).track_id).output_path,
        ]
        assert set(proxy.lost) == {path.format(producer=producer) for path in ONCE}

    listed = api.get("/tracks", text=words)["tracks"]
    assert sorted(track["output_path"] for track in listed) == sorted(tracks)
    jobs = {job["job_id"] for job in api.get("/jobs", producer_id=producer)["jobs"]}
    assert jobs == {made.job_id, submitted.job_id, retrained.job_id}
    assert len(list((api.folder / "uploads" / producer).rglob("*.wav"))) == 2
    versions = {twin: len(api.get(f"/loras/{producer}:{twin}/versions")["versions"]) for twin in ("night", "imported")}
    assert versions == {"night": 2, "imported": 1}


def test_a_track_that_a_proxy_gave_up_is_waited_for(api: Api, song: Path) -> None:
    with lossy(api.server.url, "early") as proxy, ProducerTwin(proxy.url, KEY, retry=FAST) as studio:
        track = studio.generate("bowerbird", duration_seconds=30, steps=20)
        assert [status for path, status in proxy.answered if path == "/generate"][-1] == 200
    assert [each["output_path"] for each in api.get("/tracks", text="bowerbird")["tracks"]] == [track.output_path]


def test_a_key_of_ones_own_outlives_the_program(api: Api) -> None:
    """A program that crashed before it read the answer asks again with the same key."""

    def made(call: Callable[[ProducerTwin], str]) -> set[str]:
        found = set()
        for _ in range(2):
            with ProducerTwin(api.server.url, KEY) as studio:
                found.add(call(studio))
        return found

    one = {"duration_seconds": 1, "idempotency_key": "order-17"}
    assert len(made(lambda studio: studio.generate("catbird", **one).output_path)) == 1
    two = one | {"idempotency_key": "order-18"}
    assert len(made(lambda studio: studio.tracks.submit("catbird", **two).track_id)) == 1
