"""A producer's storage: its limit, its usage, and its deletion."""

from __future__ import annotations

import httpx

from tests.api import Api, as_base64, beat, checked, error_of
from tests.conftest import PASSWORD
from tests.integration.twins.conftest import CLIP


def test_what_one_producer_may_store(strict: Api) -> None:
    headers = {b"x-train-password": PASSWORD.encode()}
    song = beat(2.5, rate=8_000)
    assert 75_000 < len(song) < 100_000

    def upload(job: str) -> httpx.Response:
        fields = {"producer_id": "greedy", "job_id": job}
        return strict.client.post("/uploads", files={"file": song}, data=fields, headers=headers)

    checked(upload("one"))
    checked(upload("one"))  # the same file again takes no space
    assert "greedy" in error_of(upload("two"), 507)
    body = {"producer_id": "greedy", "content_base64": as_base64(song)}
    assert "PRODUCER" not in error_of(strict.client.post("/store-upload", json=body, headers=headers), 507)
    usage = strict.get("/producers/greedy")
    assert (usage["bytes"], usage["limit"], usage["by"]) == (len(song), 150_000, {"uploads": len(song)})
    error_of(strict.client.delete("/producers/greedy"), 401)
    checked(strict.client.delete("/producers/greedy", headers=headers))
    checked(upload("two"))


def test_all_that_belongs_to_a_producer_goes(api: Api) -> None:
    path = api.upload("leaver", CLIP, job_id="clip", filename="clip.wav")
    neighbour = api.upload("leaver_too", CLIP, job_id="clip", filename="clip.wav")
    job = api.post("/train", producer_id="leaver", model_name="last", upload_paths=[path], max_steps=1)["job_id"]
    api.generate(lora_id="leaver:last", duration_seconds=1)
    usage = api.get("/producers/leaver")
    assert usage["bytes"] > len(CLIP) and usage["by"]["outputs"] > 0 and usage["by"]["lora_versions"] > 0
    gone = checked(api.client.delete("/producers/leaver"))
    assert {path, "/data/loras/leaver_last.safetensors", f"/data/jobs/{job}.json"} <= set(gone["deleted"])
    assert gone["bytes"] >= usage["bytes"]
    left = [name for name, is_file in api.stored().items() if is_file and ("leaver" in name or job in name)]
    assert left == [neighbour.removeprefix("/data/")]
    error_of(api.client.get("/loras/leaver:last"), 404)
    error_of(api.client.get(f"/jobs/{job}"), 404)
    assert "leaver" in error_of(api.client.delete("/producers/leaver"), 404)
