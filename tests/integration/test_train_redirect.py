"""`POST /train` of a real service, and the URL to which it redirects (tests/unit/api/test_train_redirect.py)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.api import ACE_STEP_ONLY, Json, beat, error_of, running

pytestmark = pytest.mark.long


def test_a_job_that_takes_longer_than_the_limit(tmp_path: Path, tiny: dict[str, str]) -> None:
    with running(tmp_path, tiny | ACE_STEP_ONLY | {"TRAIN_ANSWER_SECONDS": "2"}, ("ace_step",)) as api:
        upload = api.upload("ada", beat(4, rate=44_100), job_id="takes", filename="beat.wav")
        body: Json = {"producer_id": "ada", "upload_paths": [upload], "job_id": "endless", "max_steps": 100_000}
        location = f"{api.server.url}/jobs/endless/result"
        for method, path, sent in (("POST", "/train", body), ("GET", "/jobs/endless/result", None)):
            answer = api.client.request(method, path, json=sent)
            assert (answer.status_code, answer.headers["location"]) == (303, location)
        api.post("/jobs/endless/cancel")
        assert "was cancelled" in error_of(api.client.get("/jobs/endless/result", follow_redirects=True), 409)
