"""Retries, errors, streams and files of the Python client."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from producer_twin import ApiError, AsyncProducerTwin, JobFailed, ProducerTwin, ProducerTwinError, Retry, Unreachable

from api.routes.examples import GENERATED, JOB, SUBMITTED, TWIN_ROW
from tests.unit.clients.served import event

FAST = Retry(attempts=3, base_seconds=0.001, max_seconds=1)
Handler = Callable[[httpx.Request], httpx.Response]


def client(handler: Handler, retry: Retry = FAST, **options: Any) -> ProducerTwin:
    return ProducerTwin(retry=retry, http=httpx.Client(transport=httpx.MockTransport(handler)), **options)


class Answers:
    """Gives one answer after the other; raises those that are exceptions."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        request.read()
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def paused(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that the client would have made."""
    found: list[float] = []

    async def sleep(seconds: float) -> None:
        found.append(seconds)

    monkeypatch.setattr("producer_twin._sync.transport.time.sleep", found.append)
    monkeypatch.setattr("producer_twin._async.transport.asyncio.sleep", sleep)
    return found


def refused(status: int, **headers: str) -> httpx.Response:
    return httpx.Response(
        status, json={"error": "too many"}, headers={k.replace("_", "-"): v for k, v in headers.items()}
    )


def job(**changes: Any) -> httpx.Response:
    return httpx.Response(200, json=JOB | changes)


def test_retry_after_is_kept_to(paused: list[float]) -> None:
    served = Answers(refused(429, retry_after="0.5"), refused(503, retry_after="1"), job())
    assert client(served).jobs.get("takes").state == "training"
    assert len(served.asked) == 3 and paused[1] == 1 and paused[0] < 0.01  # half a second is no valid Retry-After


def test_retry_after_may_be_a_date(paused: list[float]) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    client(Answers(refused(503, retry_after=date), job()), Retry()).jobs.get("takes")
    assert 20 < paused[0] <= 30


def test_a_pause_that_is_too_long_is_an_error_at_once(paused: list[float]) -> None:
    with pytest.raises(ApiError) as error:
        client(Answers(refused(429, retry_after="3600", x_request_id="a1"))).jobs.get("takes")
    assert (error.value.status, error.value.retry_after, error.value.request_id) == (429, 3600, "a1")
    assert error.value.message == "too many" and paused == []


def test_the_asynchronous_client_tries_again_too(paused: list[float]) -> None:
    served = Answers(refused(503), httpx.ReadError("lost"), job())

    async def asked() -> str:
        async with AsyncProducerTwin(
            retry=FAST, http=httpx.AsyncClient(transport=httpx.MockTransport(served))
        ) as service:
            return (await service.jobs.get("takes")).job_id

    assert asyncio.run(asked()) == "takes" and len(paused) == 2


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 500, 504, 507])
def test_other_errors_are_not_tried_again(status: int, paused: list[float]) -> None:
    served = Answers(refused(status))
    with pytest.raises(ApiError, match=f"{status}: too many"):
        client(served).jobs.get("takes")
    assert len(served.asked) == 1


def test_an_error_of_a_proxy_is_told(paused: list[float]) -> None:
    with pytest.raises(ApiError, match="500: upstream broke"):
        client(Answers(httpx.Response(500, text="upstream broke"))).jobs.get("takes")


def timed_out() -> httpx.Response:
    """A proxy's, which waited no longer for the service."""
    return httpx.Response(504, text="upstream timed out")


@pytest.mark.parametrize(
    ("call", "attempts"),
    [
        (lambda service: service.jobs.get("takes"), 3),
        (lambda service: service.generate("trap"), 3),
        (lambda service: service.training.submit("ada", ["/data/uploads/ada/a/b.wav"]), 3),
        (lambda service: service.tracks.submit("trap"), 3),
        (lambda service: service.twins.retrain("ada:night"), 3),
        (lambda service: service.twins.import_adapter("ada", "night", __file__), 3),
        (lambda service: service.jobs.delete("takes"), 1),
        (lambda service: service.twins.delete("ada:night"), 1),
        (lambda service: service.producers.delete("ada"), 1),
        (lambda service: service.jobs.resume("takes"), 1),
    ],
)
def test_what_must_not_happen_twice_is_not_sent_again_after_a_lost_connection(
    call: Callable[[ProducerTwin], object], attempts: int, paused: list[float]
) -> None:
    served = Answers(*[httpx.ReadError("lost")] * 3)
    with pytest.raises(Unreachable, match="lost"):
        call(client(served))
    assert len(served.asked) == attempts
    for of_proxy in (refused(502), timed_out()):  # which may have sent the request on
        unanswered = Answers(*[of_proxy] * 3)
        with pytest.raises(ApiError, match=str(of_proxy.status_code)):
            call(client(unanswered))
        assert len(unanswered.asked) == attempts
    unsent = Answers(*[httpx.ConnectError("refused")] * 3)
    with pytest.raises(Unreachable, match="refused"):
        call(client(unsent))
    assert len(unsent.asked) == 3


def sent_keys(served: Answers) -> list[str | None]:
    return [request.headers.get("idempotency-key") for request in served.asked]


def test_a_request_that_is_sent_again_has_the_same_key(paused: list[float]) -> None:
    submitted = httpx.Response(200, json=SUBMITTED)
    served = Answers(httpx.ReadError("lost"), httpx.ReadTimeout("slow"), submitted, submitted, submitted, job())
    service = client(served)
    for own in (None, None, "mine"):
        service.tracks.submit("trap", idempotency_key=own)
    service.jobs.get("takes")
    first, second, third, other, own, reading = sent_keys(served)
    assert first and first == second == third != other and (own, reading) == ("mine", None)


def test_the_answer_to_a_lost_attempt_is_waited_for(paused: list[float]) -> None:
    """However long it takes: the service tells that it is under way."""
    under_way = [refused(409, retry_after="5")] * 10
    served = Answers(timed_out(), *under_way, httpx.Response(200, json=SUBMITTED))
    assert client(served, Retry(attempts=2)).tracks.submit("trap").state == "queued"
    assert paused[1:] == [5.0] * 10 and len(set(sent_keys(served))) == 1
    at_once = Answers(refused(409, retry_after="5"))
    with pytest.raises(ApiError, match="409"):
        client(at_once, Retry(attempts=1)).tracks.submit("trap")


def test_a_training_that_is_sent_again_is_the_same_job(paused: list[float]) -> None:
    submitted = {"task_id": "t", "status": "in_progress", "job_id": "takes"}
    served = Answers(httpx.ReadError("lost"), httpx.Response(200, json=submitted))
    client(served).training.submit("ada", ["/data/uploads/ada/a/b.wav"])
    first, second = (request.content for request in served.asked)
    assert first == second and b'"job_id"' in first


def test_a_file_is_sent_whole_again_and_its_progress_is_told(tmp_path: Path, paused: list[float]) -> None:
    song, told = tmp_path / "one, two [take].wav", list[tuple[int, int | None]]()
    song.write_bytes(bytes(range(256)) * 1000)
    answer = {"path": "/data/uploads/ada/a/b.wav", "producer_id": "ada", "job_id": "a", "warnings": []}
    served = Answers(refused(503), httpx.Response(200, json=answer))
    client(served).uploads.upload("ada", song, on_progress=lambda done, total: told.append((done, total)))
    for request in served.asked:
        assert song.read_bytes() in request.content and b'filename="one, two [take].wav"' in request.content
    assert told[-1] == (256_000, 256_000) and len(told) > 2 and told[0][0] < 256_000


def test_the_key_and_the_password_are_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    served = Answers(job(), job())
    client(served, api_key="secret", password="öpen").jobs.get("takes")
    assert served.asked[0].headers["authorization"] == "Bearer secret"
    assert dict(served.asked[0].headers.raw)[b"x-train-password"] == "öpen".encode()
    monkeypatch.setenv("PRODUCER_TWIN_API_KEY", "other")
    monkeypatch.setenv("PRODUCER_TWIN_URL", "http://studio.example/twins/")
    client(served).jobs.get("takes")
    assert served.asked[1].headers["authorization"] == "Bearer other"
    assert str(served.asked[1].url) == "http://studio.example/twins/jobs/takes"


def redirected(request: httpx.Request) -> httpx.Response:
    """The service's tracks are in a bucket, and everything else seems to have moved."""
    if request.url.host == "bucket.example":
        return httpx.Response(200, text=" ".join(name for name in SECRETS if name in request.headers))
    return httpx.Response(307, headers={"location": "https://bucket.example/track.wav?signature=1"})


SECRETS = ("authorization", "x-train-password", "x-twin-link")
OWN: dict[str, Any] = {"url": "https://studio.example", "api_key": "secret", "password": "open", "twin_links": ["link"]}


def test_a_host_to_which_the_service_redirects_gets_no_secrets_and_no_data() -> None:
    service = client(redirected, **OWN)
    assert service.tracks.read("/data/outputs/base/a.wav") == b""
    with pytest.raises(Unreachable, match=r"^https://bucket.example/track.wav: .* another host"):
        service.training.submit("ada", ["/data/uploads/ada/a/b.wav"])

    async def read() -> bytes:
        http = httpx.AsyncClient(transport=httpx.MockTransport(redirected))
        async with AsyncProducerTwin(http=http, **OWN) as service:
            return await service.tracks.read("/data/outputs/base/a.wav")

    assert asyncio.run(read()) == b""


@pytest.mark.parametrize(
    ("location", "kept"),
    [("https://studio.example/b", 3), ("http://studio.example:81/b", 0), ("https://studio.example:444/b", 0)],
)
def test_the_service_itself_gets_the_secrets_after_a_redirect(location: str, kept: int) -> None:
    served = Answers(httpx.Response(307, headers={"location": location}), httpx.Response(200))
    client(served, **OWN | {"url": "http://studio.example"}).tracks.read("a.wav")
    assert sum(name in served.asked[1].headers for name in SECRETS) == kept


def test_errors_show_no_secrets() -> None:
    served = Answers(job())
    client(served, api_key="secret\n").jobs.get("takes")
    assert served.asked[0].headers["authorization"] == "Bearer secret"
    unsendable: tuple[dict[str, Any], ...] = (
        {"api_key": "sec\nret"},
        {"password": "sec\rret"},
        {"twin_links": ["sec\x00ret"]},
    )
    for secrets in unsendable:
        with pytest.raises(ProducerTwinError) as error:
            client(served, **secrets)
        assert "control character" in str(error.value) and "sec" not in str(error.value)
    lost = client(Answers(httpx.ConnectError("refused")), Retry(1), url="https://me:secret@studio.example")
    with pytest.raises(Unreachable, match=r"^https://studio\.example/jobs/takes: refused$"):
        lost.jobs.get("takes")


class Stream(httpx.SyncByteStream):
    """Events, after which the connection is lost if `then_lost`."""

    def __init__(self, text: str, then_lost: bool = False) -> None:
        self.text, self.then_lost = text, then_lost

    def __iter__(self) -> Iterable[bytes]:  # type: ignore[override]
        for each in self.text:
            yield each.encode()
        if self.then_lost:
            raise httpx.ReadError("lost")


def test_a_lost_stream_of_events_is_followed_further(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("producer_twin._sync.event_stream._RECONNECT_SECONDS", 0)
    first = event("1", JOB) + ": still here\n\n" + event("2", JOB | {"step": 41}) + "data: {"
    second = "retry: 2000\n\n" + event("2", JOB | {"step": 41}) + event("3", JOB | {"state": "done", "step": 200})
    served = Answers(
        httpx.Response(200, stream=Stream(first, then_lost=True)), httpx.Response(200, stream=Stream(second)), job()
    )
    assert [each.step for each in client(served).jobs.events("takes")] == [40, 41, 200]
    assert [request.headers.get("last-event-id") for request in served.asked] == [None, "2"]


def test_a_job_that_is_deleted_ends_its_events(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("producer_twin._sync.event_stream._RECONNECT_SECONDS", 0)
    served = Answers(httpx.Response(200, text=event("1", JOB)), refused(404))
    with pytest.raises(ApiError, match="404"):
        list(client(served).jobs.events("takes"))


def test_waiting_for_a_job(paused: list[float]) -> None:
    failed = event("1", JOB) + event("2", JOB | {"state": "failed", "error": "no music"})
    served = Answers(
        job(), httpx.Response(200, text=failed), job(), httpx.Response(200, text=event("3", JOB | {"state": "done"}))
    )
    service, seen = client(served), list[str]()
    with pytest.raises(JobFailed, match="no music") as error:
        service.job("takes").wait(lambda now: seen.append(now.state))
    assert seen == ["training", "failed"] and error.value.job.state == "failed"
    assert service.job("takes").wait().ended


def test_a_track_is_saved_in_the_format_of_its_name(tmp_path: Path) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            return httpx.Response(200, json={"url": "x", **GENERATED})
        return httpx.Response(200, text=f"{request.url.path} {request.url.params.get('format')}")

    track = client(handler).generate("trap", lora_id="ada:night")
    path = GENERATED["output_path"]
    assert track.save(tmp_path / "deep" / "a.wav").read_text() == f"{path} None"
    assert track.save(tmp_path / "a.MP3").read_text() == f"{path} mp3"
    assert track.read() == f"{path} None".encode()


def test_a_download_that_breaks_leaves_the_file_alone(tmp_path: Path) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            return httpx.Response(200, json={"url": "x", **GENERATED})
        return httpx.Response(200, stream=Stream("RIFF", then_lost=True))

    (tmp_path / "a.wav").write_text("mine")
    with pytest.raises(Unreachable):
        client(handler).generate("trap").save(tmp_path / "a.wav")
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("a.wav", "mine")]


def test_two_downloads_to_one_file_do_not_disturb_each_other(tmp_path: Path) -> None:
    """Nor does the file's name, which is as long as names may be."""
    service = client(Answers(*(httpx.Response(200, text=text) for text in ("first", "second"))))
    target, begun = tmp_path / ("ü" * 125 + ".wav"), list[int]()

    def save_again(done: int, size: int | None) -> None:
        begun.append(done)
        if len(begun) == 1:
            service.tracks.save("a.wav", target, save_again)
            assert target.read_text() == "second"

    service.tracks.save("a.wav", target, save_again)
    assert [(file, file.read_text()) for file in tmp_path.iterdir()] == [(target, "first")]


def test_a_twin_has_the_report_of_its_current_version() -> None:
    rows = [TWIN_ROW | {"job_id": "new", "current": False}, TWIN_ROW | {"job_id": "old", "current": True}]

    def handler(request: httpx.Request) -> httpx.Response:
        match request.url.path:
            case "/loras/ada:night":
                return httpx.Response(200, json=TWIN_ROW)
            case "/loras/ada:night/versions":
                return httpx.Response(200, json={"lora_id": "ada:night", "versions": rows})
            case "/jobs/old/report.json":
                return httpx.Response(
                    200, json={"job_id": "old", "complete": True, "verdict": None, "unmeasured": [], "data": 1}
                )
        return refused(404)

    report = client(handler).twin("ada:night").report()
    assert (report.job_id, report.model_extra) == ("old", {"data": 1})
    rows.clear()
    with pytest.raises(ProducerTwinError, match="not trained here"):
        client(handler).twin("ada:night").report()


def test_answers_of_other_versions_of_the_service_are_read() -> None:
    newer = {key: value for key, value in JOB.items() if key != "progress"} | {"state": "blessing", "mood": "good"}
    found = client(Answers(httpx.Response(200, json=newer))).jobs.get("takes")
    assert (found.state, found.progress, found.model_extra) == ("blessing", None, {"mood": "good"})
