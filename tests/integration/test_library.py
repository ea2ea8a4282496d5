"""The library over HTTP: tracks that were made are listed, found, changed and deleted with all that they have."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from tests.api import ACE_STEP_ONLY, Api, Json, checked, decoded, error_of, running
from tests.sounds import chord, written

PASSWORD = "open sesame"
AS_PRODUCER = {"x-train-password": PASSWORD}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, tiny: dict[str, str]) -> Iterator[Api]:
    environment = tiny | ACE_STEP_ONLY | {"NAWFSIDE_APP_PASSWORD": PASSWORD}
    with running(tmp_path_factory.mktemp("library"), environment, ("ace_step",)) as api:
        api.client.headers.update(AS_PRODUCER)
        yield api


@pytest.fixture(scope="module")
def made(service: Api) -> list[Json]:
    """A track, an edit of it, and one that follows a producer's recording; the answers of /generate."""
    common = {"seed": 7, "response": "url"}
    first = service.post("/generate", prompt="dark trap", duration_seconds=2, bpm=140, key="Am", lyrics="la", **common)
    source = first["output_path"]
    edit = service.post("/generate", prompt="bright bells", task="repaint", source=source, start=1, **common)
    upload = service.upload("ada", written(chord(2.0)), filename="song.wav")
    third = service.post("/generate", prompt="808", reference=upload, duration_seconds=2, output_format="mp3", **common)
    return [first, edit, third]


def id_of(made: Json) -> str:
    """As docs/api.md describes it."""
    path: str = made["output_path"]
    return path.removeprefix("/data/outputs/").rpartition(".")[0].replace("/", ":")


def listed(service: Api, **query: str) -> list[str]:
    return [track["track_id"] for track in service.get("/tracks", **query)["tracks"]]


def test_tracks_are_listed_with_all_that_made_them(service: Api, made: list[Json]) -> None:
    first, edit, third = map(id_of, made)
    assert listed(service) == [third, edit, first]
    page = service.get("/tracks", limit="2")
    assert [track["track_id"] for track in page["tracks"]] == [third, edit]
    assert listed(service, cursor=page["next_cursor"]) == [first]
    track = service.get(f"/tracks/{first}")
    assert track == service.get("/tracks")["tracks"][2]
    expected = {
        **{"prompt": "dark trap", "seed": 7, "bpm": 140, "key": "A minor", "task": "text", "backend": "ace_step"},
        **{"output_path": made[0]["output_path"], "output_format": "wav", "duration_seconds": 2.0, "liked": False},
        **{"title": None, "twins": [], "producer_id": None, "parent": None, "sample_rate": 48_000},
    }
    assert expected.items() <= track.items()
    # What the record says makes the same track again.
    again = service.post("/generate", prompt=track["prompt"], response="url", **track["options"])
    assert (
        service.file(again["output_path"]).read_bytes()[-9999:]
        == service.file(track["output_path"]).read_bytes()[-9999:]
    )
    checked(service.client.delete(f"/tracks/{id_of(again)}"))


def test_edits_know_their_parent(service: Api, made: list[Json]) -> None:
    first, edit, third = map(id_of, made)
    assert listed(service, parent=first) == [edit]
    assert service.get(f"/tracks/{edit}")["task"] == "repaint"
    assert service.get(f"/tracks/{third}")["producer_id"] == "ada" and third.startswith("twins:ada:")


def test_filters(service: Api, made: list[Json]) -> None:
    first, _, third = map(id_of, made)
    assert listed(service, producerId="ada") == [third] and listed(service, producer_id="bob") == []
    assert listed(service, text="TRAP la") == [first] and listed(service, text="nothing") == []
    assert listed(service, lora_id="ada:night") == []
    for query, named in (({"limit": "0"}, "limit"), ({"limit": "x"}, "limit"), ({"cursor": "../a"}, "cursor")):
        assert named in error_of(service.client.get("/tracks", params=query), 400)


def test_the_waveform_is_that_of_the_audio(service: Api, made: list[Json]) -> None:
    track = id_of(made[0])
    drawn = service.get(f"/tracks/{track}/peaks")
    samples, _ = decoded(service.file(made[0]["output_path"]).read_bytes())
    parts = np.array_split(np.abs(samples).max(axis=1), 800)
    assert drawn["duration_seconds"] == 2.0
    np.testing.assert_allclose(drawn["peaks"], [part.max() for part in parts], atol=0.01)


def test_a_track_is_renamed_and_liked(service: Api, made: list[Json]) -> None:
    track = f"/tracks/{id_of(made[1])}"
    before = service.get(track)
    liked = checked(service.client.patch(track, json={"liked": True}))
    assert liked == before | {"liked": True}
    named = checked(service.client.patch(track, json={"title": " Bells "}))
    assert named == before | {"liked": True, "title": "Bells"} == service.get(track)
    assert listed(service, liked="true") == listed(service, text="bells") == [before["track_id"]]
    assert checked(service.client.patch(track, json={"title": "", "liked": False})) == before
    for body, named_field in (({"title": "x" * 201}, "title"), ({"title": "a\nb"}, "title"), ({"seed": 1}, "seed")):
        assert named_field in error_of(service.client.patch(track, json=body), 400)


def test_lists_and_changes_want_the_password(service: Api, made: list[Json]) -> None:
    track, wrong = f"/tracks/{id_of(made[0])}", {"x-train-password": "wrong"}
    for method, path, body in (("PATCH", track, {"liked": True}), ("DELETE", track, None), ("GET", "/tracks", None)):
        assert "x-train-password" in error_of(service.client.request(method, path, json=body, headers=wrong), 401)
    for path in (track, f"{track}/peaks"):
        assert service.client.get(path, headers=wrong).status_code == 200


def test_the_record_is_no_track(service: Api, made: list[Json]) -> None:
    for path in ("/data/track_records/shared/x.json", "/data/outputs/../track_records/shared/x.json"):
        assert service.client.get(path).status_code == 404
    for track in ("base:nothing", "base", "twins:ada:x", "made:anonymous:x"):
        for method in ("GET", "PATCH", "DELETE"):
            body = {"liked": True} if method == "PATCH" else None
            assert "track_id" in error_of(service.client.request(method, f"/tracks/{track}", json=body), 404)


def test_a_deleted_track_is_gone_with_its_record(service: Api, made: list[Json]) -> None:
    again = service.post("/generate", prompt="x", duration_seconds=1, seed=8, response="url")
    track = id_of(again)
    deleted = checked(service.client.delete(f"/tracks/{track}"))
    assert deleted["track_id"] == track and again["output_path"] in deleted["deleted"]
    assert len(deleted["deleted"]) == 2 and not any(service.file(path).exists() for path in deleted["deleted"])
    assert service.client.get(again["output_path"]).status_code == 404
    error_of(service.client.delete(f"/tracks/{track}"), 404)
    assert track not in listed(service)


def test_a_producers_deletion_takes_the_records_along(service: Api, made: list[Json]) -> None:
    third = id_of(made[2])
    deleted = checked(service.client.delete("/producers/ada"))["deleted"]
    assert made[2]["output_path"] in deleted
    assert third not in listed(service) and error_of(service.client.get(f"/tracks/{third}"), 404)
    assert not list((service.folder / "track_records").rglob("*~ada.json"))
