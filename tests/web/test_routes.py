"""The original's three routes of the app, and the routes of the service that it passes on for its pages."""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
import soundfile

from tests.api import PATIENCE, Api, Json, beat, checked, error_of
from tests.conftest import PASSWORD
from tests.web.conftest import GUARDED, StandIn, Web

UPLOAD = "/api/producer/upload-and-train"
TRAIN = "/api/producer/train"
GENERATE = "/api/artist/generate"
HEADER: dict[str, Any] = {"x-train-password": PASSWORD.encode()}
FILE = ("beat.wav", b"RIFFsound", "audio/wav")
URLS = ["https://example.com/a.wav", "https://example.com/b.wav"]
MEGABYTE = 2**20


def test_upload_and_train(original: httpx.Client, stand_in: StandIn) -> None:
    answer = original.post(UPLOAD, data={"producerId": "p"}, files={"file": FILE}, headers=HEADER)
    assert answer.status_code == 200, answer.text
    job = {"job_id": "theirs", "jobId": "theirs", "producer_id": "p", "model_name": "night"}
    assert answer.json() == {"job": job}
    (stored_at, headers, stored), (trained_at, more_headers, trained) = stand_in.seen
    assert (stored_at, trained_at) == ("/store", "/teach")
    assert base64.b64decode(stored["content_base64"]) == FILE[1]
    assert stored["producer_id"] == "p" and stored["filename"] == "beat.wav"
    assert trained == {"producer_id": "p", "job_id": stored["job_id"], "upload_paths": ["/data/uploads/p/j/beat.wav"]}
    for sent in (headers, more_headers):
        assert sent["x-train-password"].encode("latin-1").decode() == PASSWORD


def test_upload_and_train_with_all_fields_and_the_password_in_the_form(
    original: httpx.Client, stand_in: StandIn
) -> None:
    form = {"producerId": "p", "modelName": "dawn", "jobId": "mine", "x-train-password": PASSWORD}
    stand_in.answers["/teach"] = (200, {"job_id": "mine", "model_name": "dawn"})
    answer = original.post(UPLOAD, data=form, files={"file": FILE})
    assert answer.json() == {"job": {"job_id": "mine", "jobId": "mine", "producer_id": "p", "model_name": "dawn"}}
    assert [sent["job_id"] for _, _, sent in stand_in.seen] == ["mine", "mine"]
    assert stand_in.seen[1][2]["model_name"] == "dawn"


def test_train_on_urls(original: httpx.Client, stand_in: StandIn) -> None:
    answer = original.post(TRAIN, json={"producerId": "p", "uploadUrls": URLS}, headers=HEADER)
    assert answer.status_code == 200, answer.text
    assert set(answer.json()["job"]) == {"job_id", "jobId", "producer_id", "model_name"}
    ((path, _, sent),) = stand_in.seen
    assert path == "/teach" and sent["upload_urls"] == URLS and sent["producer_id"] == "p"


def test_generate_wants_no_password(original: httpx.Client, stand_in: StandIn) -> None:
    body = {"artistId": "a", "loraId": "p:night", "prompt": "dark trap", "durationSeconds": 20, "seed": 0}
    answer = original.post(GENERATE, json=body)
    assert answer.status_code == 200 and answer.json()["audio_base64"] == "UklGRg=="
    generation = answer.json()["generation"]
    assert generation.keys() == {"generationId", "audioUrl", "audioBase64"} and generation["generationId"]
    assert (generation["audioUrl"], generation["audioBase64"]) == ("data:audio/wav;base64,UklGRg==", "UklGRg==")
    ((path, headers, sent),) = stand_in.seen
    assert path == "/sing" and "x-train-password" not in headers
    assert sent == {"prompt": "dark trap", "lora_id": "p:night", "duration_seconds": 20, "seed": 0}


@pytest.mark.parametrize("route", [GENERATE, TRAIN])
def test_a_body_that_is_too_large(original: httpx.Client, stand_in: StandIn, route: str) -> None:
    answer = original.post(route, json={"prompt": "x" * MEGABYTE, "producerId": "p"})
    assert (answer.status_code, answer.json()) == (413, {"error": "the body is over 1 MB; send less"})
    assert not stand_in.seen


def test_a_training_that_takes_long_is_not_waited_for(original: httpx.Client, stand_in: StandIn) -> None:
    stand_in.delays["/teach"] = 300
    start = time.monotonic()
    answer = original.post(TRAIN, json={"producerId": "p", "uploadUrls": URLS, "jobId": "long"}, headers=HEADER)
    assert time.monotonic() - start < 300
    job = {"job_id": "long", "jobId": "long", "producer_id": "p", "model_name": "nawfside_lora"}
    assert answer.json() == {"job": job}


REFUSED_FORMS: list[tuple[dict[str, Any], int, str]] = [
    ({"data": {}, "files": {"file": FILE}}, 400, "producerId"),
    ({"data": {"producerId": "  "}, "files": {"file": FILE}}, 400, "producerId"),
    ({"data": {"producerId": "p"}, "files": {"other": FILE}}, 400, "file"),
    ({"data": {"producerId": "p", "file": "text"}, "files": {"other": FILE}}, 400, "file"),
    ({"data": {"producerId": "p"}, "files": {"file": ("beat.wav", b"", "audio/wav")}}, 400, "file"),
    ({"data": {"producerId": "p"}, "files": {"file": ("b.wav", bytes(51 * MEGABYTE), "audio/wav")}}, 413, "file"),
    ({"json": {"producerId": "p"}}, 400, "content-type"),
    ({"content": b"nonsense", "headers": {"content-type": "multipart/form-data; boundary=x"}}, 400, "form"),
]


@pytest.mark.parametrize(("request_", "status", "named"), REFUSED_FORMS)
def test_refused_forms(
    original: httpx.Client, stand_in: StandIn, request_: dict[str, Any], status: int, named: str
) -> None:
    sent = request_ | {"headers": HEADER | request_.get("headers", {})}
    assert named in error_of(original.post(UPLOAD, **sent), status)
    assert stand_in.seen == []


def test_a_body_of_unknown_length_is_refused_while_it_comes(original: httpx.Client, stand_in: StandIn) -> None:
    def body() -> Any:
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="b.wav"\r\n\r\n'
        for _ in range(60):
            yield bytes(MEGABYTE)

    headers = HEADER | {"content-type": "multipart/form-data; boundary=x"}
    answer = httpx.post(f"{original.base_url}{UPLOAD}", content=body(), headers=headers, timeout=60, trust_env=False)
    assert "50 MB" in error_of(answer, 413)
    assert stand_in.seen == []


def trickled(app: httpx.Client, seconds: int) -> httpx.Response:
    """Send a form that takes so many seconds. Returns the answer."""

    def body() -> Iterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="producerId"\r\n\r\np\r\n'
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="b.wav"\r\n\r\n'
        for _ in range(seconds):
            time.sleep(1)
            yield b"a little"
        yield b"\r\n--x--\r\n"

    headers = HEADER | {"content-type": "multipart/form-data; boundary=x"}
    return httpx.post(f"{app.base_url}{UPLOAD}", content=body(), headers=headers, timeout=90, trust_env=False)


def test_an_upload_may_take_as_long_as_is_set(original: httpx.Client, web: Web, stand_in: StandIn) -> None:
    """Node checks for late requests every 30 s, so a late one is refused within 30 s."""
    environment = stand_in.environment | GUARDED
    hasty = web(environment | {"UPLOAD_SECONDS": "5"})
    with ThreadPoolExecutor(2) as pool:
        slow = pool.submit(trickled, original, 40)
        late = pool.submit(trickled, hasty, 40)
        assert late.result().status_code == 408
        assert slow.result().status_code == 200, slow.result().text
    assert [base64.b64decode(sent["content_base64"]) for path, _, sent in stand_in.seen if path == "/store"] == [
        b"a little" * 40
    ]


def test_an_upload_that_stalls_is_ended(original: httpx.Client, stand_in: StandIn) -> None:
    def body() -> Iterator[bytes]:
        yield b"--x\r\n"
        time.sleep(40)

    headers = HEADER | {"content-type": "multipart/form-data; boundary=x"}
    answer = httpx.post(f"{original.base_url}{UPLOAD}", content=body(), headers=headers, timeout=90, trust_env=False)
    assert "30 s" in error_of(answer, 408)
    assert stand_in.seen == []


@pytest.mark.parametrize("given", [None, "", "wrong", PASSWORD.upper(), PASSWORD + "!"])
@pytest.mark.parametrize("place", ["header", "field"])
def test_the_wrong_password(original: httpx.Client, stand_in: StandIn, given: str | None, place: str) -> None:
    as_header: dict[str, Any] = {} if given is None or place == "field" else {"x-train-password": given.encode()}
    as_field = {} if given is None or place == "header" else {"x-train-password": given}
    form = original.post(UPLOAD, data={"producerId": "p"} | as_field, files={"file": FILE}, headers=as_header)
    assert "x-train-password" in error_of(form, 401)
    body = {"producerId": "p", "uploadUrls": URLS} | as_field
    assert "x-train-password" in error_of(original.post(TRAIN, json=body, headers=as_header), 401)
    assert stand_in.seen == []


def test_guesses_of_the_password_are_counted(web: Web, stand_in: StandIn) -> None:
    app = web(stand_in.environment | {"NAWFSIDE_APP_PASSWORD": PASSWORD, "SIGN_IN_ATTEMPTS_PER_MINUTE": "4"})

    def train(headers: dict[str, Any]) -> httpx.Response:
        return app.post(TRAIN, json={"producerId": "p", "uploadUrls": URLS}, headers=headers)

    for _ in range(6):  # neither the right one nor none is a guess
        assert train(HEADER).status_code == 200
        error_of(train({}), 401)
    visitor = app.get("/api/service/jobs", headers=HEADER)
    for guess in ("one", "two", "three"):
        error_of(train({"x-train-password": guess}), 401)
    error_of(app.get("/api/service/jobs", headers={"x-train-password": "four"}), 401)
    for headers in ({"x-train-password": "five"}, HEADER):
        refused = train(headers)
        assert "too many attempts" in error_of(refused, 429) and 0 < int(refused.headers["retry-after"]) <= 60
    # A client that already sent the right password goes on reading.
    assert app.get("/api/service/jobs").status_code == visitor.status_code == 503


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({}, "producerId"),
        ({"producerId": "p"}, "uploadUrls"),
        ({"producerId": "p", "uploadUrls": []}, "uploadUrls"),
        ({"producerId": "p", "uploadUrls": "https://example.com/a.wav"}, "uploadUrls"),
        ({"producerId": "p", "uploadUrls": [1]}, "uploadUrls"),
        ({"producerId": 7, "uploadUrls": URLS}, "producerId"),
        ({"producerId": None, "uploadUrls": URLS}, "producerId"),
        ([], "object"),
    ],
)
def test_refused_trainings(original: httpx.Client, stand_in: StandIn, body: Any, named: str) -> None:
    assert named in error_of(original.post(TRAIN, json=body, headers=HEADER), 400)
    assert stand_in.seen == []


@pytest.mark.parametrize("missing", ["artistId", "loraId", "prompt"])
def test_what_a_track_needs(original: httpx.Client, stand_in: StandIn, missing: str) -> None:
    body = {"artistId": "a", "loraId": "p:night", "prompt": "dark"}
    for empty in ({}, {missing: ""}, {missing: None}):
        left = {name: value for name, value in body.items() if name != missing} | empty
        assert missing in error_of(original.post(GENERATE, json=left), 400)
    assert missing in error_of(original.post(GENERATE, json=body | {missing: ["x"]}), 400)
    assert stand_in.seen == []


@pytest.mark.parametrize(("field", "value"), [("durationSeconds", "long"), ("seed", "seven")])
def test_numbers_are_numbers(original: httpx.Client, stand_in: StandIn, field: str, value: str) -> None:
    body = {"artistId": "a", "loraId": "p:night", "prompt": "dark", field: value}
    assert field in error_of(original.post(GENERATE, json=body), 400)
    assert stand_in.seen == []


@pytest.mark.parametrize("path", [TRAIN, GENERATE])
def test_bodies_that_are_no_json(original: httpx.Client, path: str) -> None:
    assert "JSON" in error_of(original.post(path, content=b"{", headers=HEADER), 400)


@pytest.mark.parametrize(
    ("answer", "status", "said"),
    [
        ((200, {"error": "no such twin"}), 502, "no such twin"),  # as the original reports errors
        ((404, {"error": "lora_id: there is no twin"}), 404, "lora_id: there is no twin"),
        ((503, {"error": "later"}), 503, "later"),
        ((500, b"Traceback (most recent call last)"), 500, "the music service answered 500"),
        ((200, b"<html>"), 502, "the music service answered something else than JSON"),
    ],
)
def test_the_services_own_refusals(
    original: httpx.Client, stand_in: StandIn, answer: tuple[int, Any], status: int, said: str
) -> None:
    stand_in.answers |= dict.fromkeys(("/store", "/teach", "/sing"), answer)
    body = {"artistId": "a", "loraId": "p:night", "prompt": "dark"}
    assert error_of(original.post(GENERATE, json=body), status) == said
    trained = original.post(TRAIN, json={"producerId": "p", "uploadUrls": URLS}, headers=HEADER)
    assert error_of(trained, status) == said
    form = original.post(UPLOAD, data={"producerId": "p"}, files={"file": FILE}, headers=HEADER)
    assert error_of(form, status) == said
    assert [path for path, _, _ in stand_in.seen] == ["/sing", "/teach", "/store"]


def test_a_service_that_is_down(alone: httpx.Client) -> None:
    answer = alone.post(GENERATE, json={"artistId": "a", "loraId": "p:night", "prompt": "dark"})
    assert "does not answer" in error_of(answer, 503) and answer.headers["retry-after"]
    assert "does not answer" in error_of(alone.post(TRAIN, json={"producerId": "p", "uploadUrls": URLS}), 503)
    assert "does not answer" in error_of(alone.get("/api/service/backends"), 503)


def test_addresses_that_are_not_set(web: Web) -> None:
    unset = web(dict.fromkeys(("MUSIC_SERVICE_URL", "MODAL_GENERATE_WEB_URL", "MODAL_TRAIN_WEB_URL"), ""))
    body = {"artistId": "a", "loraId": "p:night", "prompt": "dark"}
    assert "MODAL_GENERATE_WEB_URL" in error_of(unset.post(GENERATE, json=body), 503)
    answer = unset.post(TRAIN, json={"producerId": "p", "uploadUrls": URLS})
    assert "MODAL_TRAIN_WEB_URL" in error_of(answer, 503)
    assert "MUSIC_SERVICE_URL" in error_of(unset.get("/api/service/backends"), 503)


def test_another_sites_page_cannot_use_a_visitors_browser(original: httpx.Client, stand_in: StandIn) -> None:
    headers = HEADER | {"sec-fetch-site": "cross-site"}
    body: Json = {"producerId": "p", "uploadUrls": URLS}
    error_of(original.post(TRAIN, json=body, headers=headers), 403)
    error_of(original.post(GENERATE, json={}, headers=headers), 403)
    error_of(original.post(UPLOAD, data={"producerId": "p"}, files={"file": FILE}, headers=headers), 403)
    assert stand_in.seen == []


@pytest.mark.parametrize("path", [UPLOAD, TRAIN, GENERATE])
def test_other_methods(original: httpx.Client, path: str) -> None:
    assert original.get(path).status_code == 405


@pytest.mark.parametrize(
    "path",
    ["metrics", "status", "train/submit", "loras/a%2Fb", "data/uploads/p/j/beat.wav", "data/outputs/%2e%2e/x", "jobs/"],
)
def test_the_pages_reach_only_what_they_need(studio: httpx.Client, path: str) -> None:
    assert studio.get(f"/api/service/{path}", follow_redirects=False).status_code in (308, 404)


def test_what_the_pages_change_wants_the_password(web: Web, api: Api) -> None:
    guarded = web({"MUSIC_SERVICE_URL": api.server.url} | GUARDED)
    for path in ("uploads", "train/submit", "jobs/x/cancel", "jobs/x/resume", "loras/a:b/rollback"):
        assert "x-train-password" in error_of(guarded.post(f"/api/service/{path}", json={}), 401)
    error_of(guarded.get("/api/service/uploads/analysis", params={"path": "/data/uploads/a/b/c"}), 401)
    assert guarded.get("/api/service/backends").status_code == 200


def test_what_producers_have_wants_the_password(web: Web, api: Api) -> None:
    """The app's key may read what every producer has. Players and links send a cookie that the right password left."""
    app = web({"MUSIC_SERVICE_URL": api.server.url} | GUARDED)
    with httpx.Client(base_url=f"{app.base_url}/api/service", timeout=60, trust_env=False) as visitor:
        job = [f"jobs/x{rest}" for rest in ("", "/events", "/report", "/report.json", "/previews/a.mp3")]
        for path in ("jobs", *job, "datasets/a", "loras/a:b/file", "producers/a"):
            for headers in ({}, {"x-train-password": "wrong"}, {"cookie": "producer-twin-password=wrong"}):
                assert "x-train-password" in error_of(visitor.get(path, headers=headers), 401), path
        answer = visitor.get("jobs", headers=HEADER)
        assert answer.status_code == 200 and answer.headers["cache-control"] == "private, no-cache"
        assert "HttpOnly" in answer.headers["set-cookie"] and PASSWORD not in answer.headers["set-cookie"]
        for path in ("jobs", "tracks"):
            assert visitor.get(path).status_code == 200
            error_of(visitor.get(path, headers={"x-train-password": "wrong"}), 401)
        error_of(visitor.get("datasets/a"), 404)
        # It changes nothing.
        for method, path in (("DELETE", "jobs/x"), ("DELETE", "loras/a:b"), ("POST", "train/submit")):
            error_of(visitor.request(method, path), 401)


def test_three_variables_and_the_password_are_enough(web: Web, strict: Api) -> None:
    url = strict.server.url
    app = web(
        {
            "MODAL_STORE_UPLOAD_WEB_URL": f"{url}/store-upload",
            "MODAL_TRAIN_WEB_URL": f"{url}/train",
            "MODAL_GENERATE_WEB_URL": f"{url}/generate",
            "NAWFSIDE_APP_PASSWORD": PASSWORD,
        }
    )
    file = ("beat.wav", beat(2, rate=16_000, channels=1), "audio/wav")
    answer = app.post(UPLOAD, data={"producerId": "three"}, files={"file": file}, headers=HEADER)
    assert answer.status_code == 200, answer.text
    job = answer.json()["job"]
    assert job["producer_id"] == "three" and job["model_name"] == "nawfside_lora"
    assert strict.get(f"/jobs/{job['job_id']}")["producer_id"] == "three"
    assert app.get(f"/api/service/jobs/{job['job_id']}", headers=HEADER).json()["job_id"] == job["job_id"]
    # The service's own message is passed on: these addresses are not public.
    refused = app.post(TRAIN, json={"producerId": "three", "uploadUrls": ["http://127.0.0.1/a.wav"]}, headers=HEADER)
    assert "upload_urls[0]" in error_of(refused, 400)
    wanted: Json = {"artistId": "a", "loraId": "three:none", "prompt": "dark", "durationSeconds": 2}
    assert "three:none" in error_of(app.post(GENERATE, json=wanted), 404)
    # A training that is cancelled leaves a partial twin, which can be used.
    end = time.monotonic() + PATIENCE
    while not strict.get(f"/jobs/{job['job_id']}")["step"]:
        assert time.monotonic() < end
        time.sleep(0.3)
    checked(strict.client.post(f"/jobs/{job['job_id']}/cancel", headers=HEADER))
    assert strict.ended(job["job_id"])["state"] == "cancelled"
    made = app.post(GENERATE, json=wanted | {"loraId": "three:nawfside_lora"})
    assert made.status_code == 200, made.text
    assert soundfile.info(io.BytesIO(base64.b64decode(made.json()["audio_base64"]))).duration == pytest.approx(2)
