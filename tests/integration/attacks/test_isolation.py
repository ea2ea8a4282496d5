"""A key reaches its own producers' objects and no others."""

from __future__ import annotations

import base64
import json
import re
import time
from concurrent.futures import ThreadPoolExecutor

from api.routes.table import ROUTES
from contract import TrainRequest
from storage import keys, open_storage
from tests.api import error_of
from tests.integration.attacks.attempts import GENERATE, TRAIN, UPLOAD
from tests.integration.attacks.conftest import SECRET, SONG, Guarded
from training.jobs.store import Jobs


def test_no_route_leads_to_anothers(guarded: Guarded) -> None:
    """Every route with a producer, twin or job in its path refuses other producers' keys, future routes included."""
    names = {"{producer_id}": "bob", "{lora_id}": "bob:night", "{job_id}": "bobs-job"}
    tried = 0
    for route in ROUTES:
        path = route.path
        if not any(name in path for name in names):
            continue
        for name, value in names.items():
            path = path.replace(name, value)
        path = re.sub(r"\{.*?\}", "x", path)
        for method in (route.method, "HEAD") if route.method == "GET" else (route.method,):
            before = guarded.api.stored()
            answer = guarded.ask("ada", method, path, json={"version": "1" * 16})
            # Routes of users are there only where they can sign in.
            refused = (403, 404, 405) if route.sign_in else (403, 404)
            assert answer.status_code in refused, (method, path, answer.text)
            assert SECRET not in answer.text
            assert guarded.api.stored() == before
            tried += 1
    assert tried >= 8


def test_what_is_anothers_answers_like_what_is_not_there(guarded: Guarded) -> None:
    """The answers are the same but for the name, so that asking does not tell which names exist."""
    for method, path, body in (
        ("GET", "/jobs/{}-job", None),
        ("GET", "/datasets/{}", None),
        ("GET", "/loras/{}:night", None),
        ("DELETE", "/loras/{}:night", None),
        ("GET", "/loras/{}:night/versions", None),
        ("GET", "/data/outputs/twins/{}/track.wav", None),
        ("POST", "/generate", GENERATE | {"lora_id": "{}:night"}),
        ("POST", "/store-upload", UPLOAD | {"producer_id": "{}"}),
    ):
        words = []
        for name in ("bob", "eve", "bobs", "eves"):
            filled = json.loads(json.dumps(body).replace("{}", name)) if body else None
            answer = guarded.ask("ada", method, path.format(name), json=filled)
            words.append((answer.status_code, answer.json()["error"].replace(name, "?")))
        assert len(set(words)) == 1, words


def test_lists_hold_ones_own_only(guarded: Guarded) -> None:
    for query in ("", "?producer_id=bob", "?producer_id=ada"):
        loras = guarded.ask("ada", "GET", f"/loras{query}")
        jobs = guarded.ask("ada", "GET", f"/jobs{query}")
        assert {row["producer_id"] for row in loras.json()["loras"]} <= {"ada"}
        assert jobs.json()["jobs"] == []
        assert SECRET not in jobs.text
    assert len(guarded.ask("operator", "GET", "/loras").json()["loras"]) == 3
    assert len(guarded.ask("bob", "GET", "/jobs").json()["jobs"]) == 1


def test_ones_own_is_served(guarded: Guarded) -> None:
    """Producers reach their own objects, and the operator all."""
    for who, producer in (("ada", "ada"), ("bob", "bob"), ("operator", "bob")):
        assert guarded.ask(who, "GET", f"/loras/{producer}:night").status_code == 200
        assert guarded.ask(who, "GET", f"/datasets/{producer}").json()["producer_id"] == producer
        assert guarded.ask(who, "GET", f"/data/outputs/twins/{producer}/track.wav").content == SONG
    assert guarded.ask("bob", "GET", "/jobs/bobs-task").json()["job_id"] == "bobs-job"
    assert guarded.ask("operator", "GET", "/metrics").status_code == 200
    made = guarded.ask("ada listens", "POST", "/generate", json=GENERATE)
    assert base64.b64decode(made.json()["audio_base64"])[:4] == b"RIFF"


def test_ones_place_in_the_queue_is_ones_own(guarded: Guarded) -> None:
    """Only the key that sent the request sees its place, not another key of the same producer."""
    body, name = GENERATE | {"duration_seconds": 60, "steps": 100}, {"x-request-id": "adas-track"}
    with ThreadPoolExecutor(1) as pool:
        made = pool.submit(guarded.ask, "ada", "POST", "/generate", json=body, headers=name)
        while not made.done() and guarded.ask("ada", "GET", "/queue/adas-track").status_code == 404:
            time.sleep(0.02)
        others = [guarded.ask(who, "GET", "/queue/adas-track") for who in ("ada listens", "bob", "operator")]
        own = guarded.ask("ada", "GET", "/queue/adas-track")
        assert not made.done() and own.status_code == 200
        assert own.json()["request_id"] == "adas-track"
        for answer in others:
            assert "adas-track" in error_of(answer, 404)
        assert made.result().status_code == 200


def test_a_key_has_so_many_jobs_at_once(guarded: Guarded) -> None:
    jobs = Jobs(open_storage(guarded.api.folder.as_uri()))
    request = TrainRequest(**TRAIN | {"job_id": "adas-first"})
    jobs.create(request, "ace_step")
    answer = guarded.ask("ada", "POST", "/train/submit", json=TRAIN | {"job_id": "adas-second"})
    assert "1 jobs" in error_of(answer, 429)
    assert int(answer.headers["retry-after"]) > 0
    assert not (guarded.api.folder / keys.job_record("adas-second")).exists()
    jobs.fail("adas-first", "enough")
