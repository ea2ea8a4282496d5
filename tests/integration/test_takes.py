"""Takes, their figures, and the choice among them, through the HTTP interface."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest

from tests.api import Api, Json, Samples, beat, both_backends, checked, decoded, error_of
from tests.conftest import Twin
from tests.sounds import MAX_ROUNDING

FIGURES = {
    *("bpm", "bpm_confidence", "bpm_off", "key", "key_confidence", "key_matches"),
    *("loudness", "peak", "clipped", "twin_distance", "nearest_segment"),
}
BODY: Json = {"prompt": "dark trap", "duration_seconds": 4, "seed": 2**32 - 1, "bpm": 140, "key": "A minor"}


def fetched(api: Api, path: str) -> Samples:
    answer = api.client.get(path)
    assert answer.status_code == 200, answer.text[:500]
    return decoded(answer.content)[0]


@both_backends
def test_each_take_is_made_again_by_its_own_seed(api: Api, backend: str) -> None:
    made = api.post("/generate", **BODY, takes=3, backend_override=backend)
    assert made.keys() == {"backend", "sample_rate", "duration_seconds", "lora_scale", "draws", "takes", "failed"}
    assert (made["backend"], made["draws"], made["duration_seconds"]) == (backend, 3, pytest.approx(4, abs=0.1))
    assert [take["seed"] for take in made["takes"]] == [2**32 - 1, 0, 1]
    heard = [fetched(api, take["url"]) for take in made["takes"]]
    assert not np.array_equal(heard[0], heard[1])
    for take, samples in zip(made["takes"], heard, strict=True):
        assert take["accepted"] is None and take["figures"].keys() == FIGURES
        # Their figures are those of the stored file.
        assert take["figures"]["peak"] == pytest.approx(20 * np.log10(np.abs(samples).max()), abs=0.01)
        assert take["figures"]["twin_distance"] is None and take["figures"]["nearest_segment"] is None
        alone = api.post("/generate", **BODY | {"seed": take["seed"]}, backend_override=backend)
        assert np.abs(decoded(base64.b64decode(alone["audio_base64"]))[0] - samples).max() <= MAX_ROUNDING
        assert "figures" not in alone


def test_a_twins_takes_are_ranked_by_their_distance_from_its_music(api: Api, twins: dict[str, Twin]) -> None:
    made = api.post("/generate", **BODY, takes=3, rank="twin", lora_id=twins["ace_step"].lora_id)
    distances = [take["figures"]["twin_distance"] for take in made["takes"]]
    assert distances == sorted(distances) and len(set(distances)) == 3
    best = api.post("/generate", **BODY, best_of=3, rank="twin", lora_id=twins["ace_step"].lora_id)
    assert (best["draws"], best["seed"], best["figures"]) == (3, made["takes"][0]["seed"], made["takes"][0]["figures"])
    # A twin whose music was not measured has no such figure, and says so where it is asked for.
    record = api.file(f"/data/job_runs/{twins['ace_step'].result['job_id']}/own_music.npz")
    measured = record.read_bytes()
    record.unlink()
    try:
        asked = BODY | {"lora_id": twins["ace_step"].lora_id}
        refused = api.client.post("/generate", json=asked | {"best_of": 2, "rank": "twin"})
        assert error_of(refused, 409).startswith("rank: ")
        assert api.post("/generate", **asked, figures=True)["figures"]["twin_distance"] is None
    finally:
        record.write_bytes(measured)


def test_a_twins_track_names_the_training_segment_that_it_repeats_most(api: Api, twins: dict[str, Twin]) -> None:
    job, asked = twins["ace_step"].result["job_id"], BODY | {"lora_id": twins["ace_step"].lora_id}
    found = api.post("/generate", **asked | {"duration_seconds": 6}, figures=True)["figures"]["nearest_segment"]
    assert found.keys() == {"segment", "similarity", "memorised"}
    dataset = json.loads(api.file(f"/data/datasets/studio/{job}/dataset.json").read_bytes())
    assert 0 <= found["segment"] < len(dataset["segments"])
    assert found["memorised"] is (found["similarity"] >= 0.7)
    assert api.post("/generate", **asked, figures=True)["figures"]["nearest_segment"] is None  # it is too short
    # A twin of an earlier version has no fingerprints.
    record = api.file(f"/data/job_runs/{job}/training_segments.npz")
    fingerprints = record.read_bytes()
    record.unlink()
    try:
        old = api.post("/generate", **asked | {"duration_seconds": 6}, figures=True)["figures"]
        assert old["nearest_segment"] is None and old["twin_distance"] is not None
    finally:
        record.write_bytes(fingerprints)


def test_a_take_is_drawn_until_one_is_accepted(api: Api) -> None:
    heard = api.post("/generate", **BODY, figures=True)["figures"]["key"]
    wanted = BODY | {"key": "Eb minor" if heard == "C major" else "C major"}
    made = api.post("/generate", **wanted, accept={"key": True, "draws": 32})
    assert made["accepted"] is (made["figures"]["key"] == wanted["key"])
    # The key is an input of the model, so that the takes are not those above; the seed says how many were drawn.
    assert made["draws"] == 32 or made["seed"] == (BODY["seed"] + made["draws"] - 1) % 2**32
    none = api.post("/generate", **BODY, accept={"tempo_within": 1e-6, "draws": 3}, rank="tempo", response="url")
    assert (none["accepted"], none["draws"]) == (False, 3) and none["figures"]["bpm_off"] != 0


def test_the_audio_itself_has_its_figures_in_the_headers(api: Api) -> None:
    body = BODY | {"accept": {"tempo_within": 1e-6, "draws": 1}}
    answer = api.client.post("/generate", json=body, headers={"accept": "audio/flac"})
    assert answer.status_code == 200 and answer.headers["content-type"] == "audio/flac"
    assert json.loads(answer.headers["x-figures"]).keys() == FIGURES and answer.headers["x-accepted"] == "false"


def test_an_edit_has_takes_too(api: Api) -> None:
    """Sent as a form: all takes keep the source outside the window, and differ inside."""
    form = {"prompt": "trap", "task": "repaint", "start": "1", "end": "2", "seed": "3", "takes": "2", "figures": "true"}
    made = checked(api.client.post("/generate/form", data=form, files={"source": ("beat.wav", beat(4))}))
    one, two = (fetched(api, take["output_path"]) for take in made["takes"])
    rate = made["sample_rate"]
    assert np.array_equal(one[: rate // 2], two[: rate // 2])
    assert not np.array_equal(one[rate : 2 * rate], two[rate : 2 * rate])


@pytest.mark.parametrize(
    ("fields", "accept", "named"),
    [
        ({"takes": 9}, "*/*", "takes"),
        ({"takes": 2, "response": "base64"}, "*/*", "response"),
        ({"takes": 2}, "audio/wav", "takes"),
        ({"takes": 2, "best_of": 2, "rank": "key"}, "*/*", "takes, best_of"),
        ({"best_of": 2}, "*/*", "rank"),
        ({"takes": 8, "duration_seconds": 200}, "*/*", "takes"),
        ({"takes": 2, "rank": "tempo", "bpm": None}, "*/*", "bpm"),
        ({"accept": {"key": True}, "key": None}, "*/*", "key"),
        ({"accept": {"key": True, "draws": 0}}, "*/*", "accept.draws"),
    ],
)
def test_bad_input_is_named(api: Api, fields: dict[str, Any], accept: str, named: str) -> None:
    before = api.stored()
    answer = api.client.post("/generate", json=BODY | fields, headers={"accept": accept})
    assert error_of(answer, 400).startswith(f"{named}: ")
    assert api.stored() == before
