"""The Python client behind a proxy that loses answers: it sends the request again, and nothing is made twice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from producer_twin import ProducerTwin, Retry

from tests.api import Api, beat, wait_until
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


def test_nothing_is_made_twice(api: Api, song: Path, tmp_path: Path) -> None:
    producer = "lossy"
    with lossy(api.server.url, "closed") as proxy, ProducerTwin(proxy.url, KEY, retry=FAST) as studio:
        path = studio.uploads.upload(producer, song).path
        studio.uploads.store(producer, song.read_bytes(), filename="again.wav")
        made = studio.training.train(producer, [path], model_name="night", max_steps=1)
        started = {
            studio.training.submit(producer, [path], model_name="dawn").job_id,
            studio.twins.retrain(f"{producer}:night").job_id,
        }
        for job_id in started:
            studio.jobs.cancel(job_id)
        adapter = studio.twins.export(f"{producer}:night", tmp_path / "night.safetensors")
        studio.twins.import_adapter(producer, "imported", adapter)
        tracks = _tracks(api, studio, song, f"{producer}:night", "galah")
        assert {path.format(producer=producer) for path in ONCE} <= set(proxy.lost)

    _check_library(api, tracks, "galah")
    jobs = {job["job_id"] for job in api.get("/jobs", producer_id=producer)["jobs"]}
    assert jobs == started | {made.job_id}
    assert len(list((api.folder / "uploads" / producer).rglob("*.wav"))) == 2
    assert len(api.get(f"/loras/{producer}:imported/versions")["versions"]) == 1


@pytest.mark.parametrize("loss", [502, 504])
def test_no_track_is_made_twice_where_a_proxy_gives_up(api: Api, song: Path, loss: Loss) -> None:
    with lossy(api.server.url, loss) as proxy, ProducerTwin(proxy.url, KEY, retry=FAST) as studio:
        tracks = _tracks(api, studio, song, None, f"kookaburra{loss}")
        assert set(proxy.lost) == {path for path in ONCE if path.startswith("/generate")}
    _check_library(api, tracks, f"kookaburra{loss}")


def _tracks(api: Api, studio: ProducerTwin, song: Path, lora_id: str | None, words: str) -> list[str]:
    """The paths of a track of each route that makes one."""
    made = [
        studio.generate(words, lora_id=lora_id, duration_seconds=1),
        studio.generate(words, source_file=song, task="repaint", start=1, end=2),
    ]
    submitted = studio.tracks.submit(words, lora_id=lora_id, duration_seconds=1).track_id
    wait_until(lambda: "output_path" in api.get(f"/tracks/{submitted}"))
    return [*(track.output_path for track in made), api.get(f"/tracks/{submitted}")["output_path"]]


def _check_library(api: Api, tracks: list[str], words: str) -> None:
    """These tracks were made, and no further ones."""
    assert sorted(track["output_path"] for track in api.get("/tracks", text=words)["tracks"]) == sorted(tracks)


def test_a_track_that_a_proxy_gave_up_is_waited_for(api: Api) -> None:
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

    one = made(lambda studio: studio.generate("catbird", duration_seconds=1, idempotency_key="order-17").output_path)
    two = made(lambda studio: studio.tracks.submit("catbird", duration_seconds=1, idempotency_key="order-18").track_id)
    assert len(one) == len(two) == 1
