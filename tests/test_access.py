"""Who is served: keys, scopes, rates, programs of this machine, slow and large bodies; and what is written down."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message, Receive, Scope, Send
from typer.testing import CliRunner

import logs
from edge import access, keys
from edge.access import Access, Principal, is_local, needed_scopes
from edge.guard import Guard
from edge.journal import Journal, route_of
from edge.keys import KeyRing
from edge.rates import Rates
from front.routes import application
from settings import Settings
from storage import Storage, Unavailable, open_storage
from storage import keys as stored

PATHS = {"{id}": "a-job", "{producer}": "ada", "{model}": "night", "{rest:path}": "base/x.wav"}


@pytest.fixture
def store(tmp_path: Any) -> Storage:
    return open_storage((tmp_path / "store").as_uri())


def scope(path: str = "/backends", method: str = "GET", client: str = "127.0.0.1", **headers: str) -> Scope:
    named = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    return {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": b"",
        "headers": named,
        "client": (client, 5000),
    }


class Served:
    """An ASGI app that reads its body, keeps who asked, and answers."""

    def __init__(self) -> None:
        self.asked: list[tuple[Principal, Scope]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked.append((access.principal(), scope))
        while (message := await receive())["type"] == "http.request" and message.get("more_body"):
            pass
        if message["type"] == "http.disconnect":
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})


def answer(app: Any, asked: Scope, *body: Message, wait: bool = False) -> tuple[int, dict[str, str], Any]:
    """Status, headers and document. `wait`: the client is silent after the messages."""
    pending = list(body or [{"type": "http.request", "body": b"", "more_body": False}])
    sent: list[Message] = []

    async def receive() -> Message:
        if pending:
            return pending.pop(0)
        await asyncio.sleep(60 if wait else 0)
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(app(asked, receive, send))
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], headers, json.loads(sent[1]["body"])


def bearer(token: str) -> str:
    return f"Bearer {token}"


# Keys


def test_a_key_is_shown_once_and_kept_as_a_digest(store: Storage) -> None:
    token = keys.create(store, "web", ["generate"], ["ada"])
    secret = token.split("_", 2)[2]
    (entry,) = store.list(stored.api_keys())
    assert len(secret) >= 43
    assert secret not in store.get(entry.key).decode()
    found = KeyRing(store).find(token)
    assert found
    assert (found.name, found.scopes, found.producers) == ("web", ["generate"], ["ada"])


@pytest.mark.parametrize(
    "change",
    [
        lambda token: token[:-1],
        lambda token: token + "x",
        lambda token: token.upper(),
        lambda token: token.replace("ptk", "sk"),
        lambda token: "ptk_" + "0" * 16 + "_" + token.split("_", 2)[2],
        lambda token: "_".join(token.split("_", 2)[:2]) + "_",
        lambda token: token.split("_", 2)[2],
        lambda token: "",
        lambda token: "ptk_../../x_" + "a" * 43,
        lambda token: token + "\n",
        lambda token: "\ud800",
    ],
)
def test_what_is_nearly_a_key_is_none(store: Storage, change: Any) -> None:
    token = keys.create(store, "web", ["admin"])
    assert KeyRing(store).find(change(token)) is None


def test_every_comparison_takes_constant_time(store: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Known or not, right or wrong: two whole digests are compared, and by nothing that stops at a difference."""
    token = keys.create(store, "web", ["admin"])
    compared: list[tuple[int, int]] = []

    def compare(a: str, b: str) -> bool:
        compared.append((len(a), len(b)))
        return a == b

    monkeypatch.setattr(hmac, "compare_digest", compare)
    ring = KeyRing(store)
    for given_token in (token, token[:-1], "ptk_unknown_x", "nonsense", ""):
        ring.find(given_token)
    assert compared == [(64, 64)] * 5


def test_a_revoked_key_ends_soon_and_storage_may_be_away(store: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "FRESH", 600.0)
    ring = KeyRing(store)
    token = keys.create(store, "web", ["admin"])
    assert len(ring) == 1
    some_id = token.split("_")[1]
    assert keys.revoke(store, some_id)
    assert not keys.revoke(store, some_id)
    assert not keys.revoke(store, "../x")
    assert ring.find(token)  # as it was last known
    monkeypatch.setattr(keys, "FRESH", 0.0)
    assert ring.find(token) is None

    def away(*_: Any) -> Any:
        raise Unavailable(503, "storage is away")

    other = keys.create(store, "web", ["admin"])
    assert ring.find(other)
    monkeypatch.setattr(store, "list", away)
    assert ring.find(other)
    with pytest.raises(Unavailable):
        KeyRing(store).find(other)


def test_a_damaged_key_is_no_key(store: Storage) -> None:
    token = keys.create(store, "web", ["admin"])
    (entry,) = store.list(stored.api_keys())
    document = json.loads(store.get(entry.key))
    for damage in (b"", b"{}", json.dumps(document | {"scopes": ["everything"]}).encode()):
        store.put(entry.key, damage)
        assert KeyRing(store).find(token) is None


def test_keys_from_a_shell(store: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "_storage", lambda: store)
    shell = CliRunner()
    made = shell.invoke(keys.command, ["create", "ada", "--scope", "train", "--producer", "ada", "--jobs-at-once", "2"])
    assert made.exit_code == 0
    found = KeyRing(store).find(made.output.strip())
    assert found
    assert (found.producers, found.jobs_at_once) == (["ada"], 2)
    listed = shell.invoke(keys.command, ["list"])
    assert f"{found.id}  {found.created_at:%Y-%m-%d}  ada: train for ada" in listed.output
    for wrong in (
        ["create", "x", "--scope", "root"],
        ["create", "x"],
        ["create", "x", "--scope", "train", "--producer", "../x"],
    ):
        assert shell.invoke(keys.command, wrong).exit_code == 2
    assert shell.invoke(keys.command, ["revoke", "nobody"]).exit_code == 1
    assert shell.invoke(keys.command, ["revoke", found.id]).exit_code == 0
    assert list(store.list(stored.api_keys())) == []


# Scopes


def test_every_route_has_its_scope() -> None:
    """A route that is in no row of the table would be the operator's alone."""
    for route in application(lambda: None).routes:  # type: ignore[arg-type, return-value]
        path = str(route.path)  # type: ignore[attr-defined]
        for name, value in PATHS.items():
            path = path.replace(name, value)
        for method in route.methods or ():  # type: ignore[attr-defined]
            assert (needed_scopes(method, path) == frozenset({"admin"})) == (path == "/metrics"), (method, path)
    for path in ("/generate", "/train", "/train/submit", "/store-upload"):
        assert len(needed_scopes("POST", path)) == 2


@pytest.mark.parametrize(
    ("method", "path", "scopes"),
    [
        ("POST", "/generate", {"generate"}),
        ("GET", "/backends", {"generate", "train"}),
        ("GET", "/loras", {"generate", "train"}),
        ("GET", "/loras/a:b", {"generate", "train"}),
        ("GET", "/loras/a:b/file", {"train"}),
        ("DELETE", "/loras/a:b", {"train"}),
        ("POST", "/loras/a:b/rollback", {"train"}),
        ("GET", "/jobs", {"train"}),
        ("POST", "/jobs/x/cancel", {"train"}),
        ("GET", "/datasets/a", {"train"}),
        ("POST", "/uploads/link", {"train"}),
        ("GET", "/metrics", set()),
        ("GET", "/nothing", set()),
        ("POST", "/backends", set()),
        ("GET", "/generate", set()),
        ("GET", "/loras/a:b/file\n", {"generate", "train"}),
    ],
)
def test_scopes(method: str, path: str, scopes: set[str]) -> None:
    assert needed_scopes(method, path) == scopes | {"admin"}


# Who is on this machine


@pytest.mark.parametrize(
    ("asked", "local"),
    [
        (scope(), True),
        (scope(client="::1"), True),
        (scope(client="::ffff:127.0.0.1"), True),
        (scope(client="127.8.8.8", host="localhost:3000"), True),
        (scope(host="[::1]:3000", origin="http://localhost:3001"), True),
        (scope(client="10.0.0.5"), False),
        (scope(client="testclient"), False),
        (scope(client="::ffff:10.0.0.5"), False),
        (scope(x_forwarded_for="127.0.0.1"), False),
        (scope(forwarded="for=127.0.0.1"), False),
        (scope(x_real_ip="127.0.0.1"), False),
        (scope(via="1.1 proxy"), False),
        (scope(host="twin.example.com"), False),
        (scope(host="127.0.0.1.example.com"), False),
        (scope(host="localhost.example.com:3000"), False),
        (scope(origin="https://example.com"), False),
        (scope(origin="null"), False),
        (scope(origin="http://localhost.example.com"), False),
        ({**scope(), "client": None}, False),
    ],
)
def test_programs_of_this_machine(asked: Scope, local: bool) -> None:
    assert is_local(asked) is local


def guarded(store: Storage, **changes: Any) -> tuple[Access, Served]:
    served = Served()
    ring = KeyRing(store)
    return Access(served, Settings(**changes), lambda: ring), served


def test_without_a_key_only_this_machine_is_served(store: Storage) -> None:
    app, served = guarded(store)
    assert answer(app, scope())[0] == 200
    status, headers, document = answer(app, scope(client="10.0.0.5"))
    assert (status, headers["www-authenticate"]) == (401, "Bearer")
    assert "ALLOW_ANONYMOUS" in document["error"]
    assert "edge.keys create" in document["error"]
    assert len(served.asked) == 1
    for watched in ("/livez", "/readyz"):
        assert answer(app, scope(watched, client="10.0.0.5"))[0] == 200
    app, served = guarded(store, allow_anonymous=True)
    assert answer(app, scope(client="10.0.0.5"))[0] == 200


def test_with_a_key_everybody_needs_one(store: Storage) -> None:
    token = keys.create(store, "web", ["generate"], ["ada"])
    app, served = guarded(store)
    assert answer(app, scope())[0] == 401
    assert answer(app, scope(authorization=bearer(token)))[0] == 200
    basic = base64.b64encode(f"anybody:{token}".encode()).decode()
    assert answer(app, scope("/status", authorization=f"Basic {basic}"))[0] == 200
    who, passed = served.asked[0]
    assert (who.sees("ada"), who.sees("bob")) == (True, False)
    assert passed["headers"] == []  # the key goes no further
    assert access.principal().sees("bob")  # and does not outlive its request
    status, headers, _ = answer(app, scope("/status"))
    assert (status, headers["www-authenticate"].split()[0]) == (401, "Basic")
    status, _, document = answer(app, scope("/train", "POST", authorization=bearer(token)))
    assert (status, "train" in document["error"]) == (403, True)


def test_browsers_may_ask_what_they_may_ask(store: Storage) -> None:
    keys.create(store, "web", ["admin"])
    app, served = guarded(store)
    assert answer(app, scope("/generate", "OPTIONS", client="10.0.0.5", origin="https://example.com"))[0] == 200
    assert not served.asked[0][0].sees("ada")


@pytest.mark.parametrize(
    "value", ["Bearer", "Bearer ", "Basic", "Basic !!!", "Basic YQ==", "Digest x", "x", "bearer  ptk_a_b", "Bearer a b"]
)
def test_what_is_no_authorization_is_refused_even_from_this_machine(store: Storage, value: str) -> None:
    app, _ = guarded(store)
    assert answer(app, scope(authorization=value))[0] == 401


def test_two_authorizations_are_none(store: Storage) -> None:
    token = keys.create(store, "web", ["admin"])
    app, _ = guarded(store)
    asked = scope(authorization=bearer(token))
    asked["headers"] = asked["headers"] * 2
    assert answer(app, asked)[0] == 401


# Rates


def test_a_key_may_ask_so_often(store: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "Rates", lambda: Rates(lambda: 0.0))
    token = keys.create(store, "web", ["generate"], requests_per_minute=3)
    other = keys.create(store, "web", ["generate"])
    app, _ = guarded(store)
    answers = [answer(app, scope(authorization=bearer(token))) for _ in range(4)]
    assert [status for status, _, _ in answers] == [200, 200, 200, 429]
    assert answers[3][1]["retry-after"] == "20"
    assert answer(app, scope(authorization=bearer(other)))[0] == 200


@given(st.lists(st.floats(0, 30), max_size=60), st.integers(1, 20))
def test_no_more_pass_than_a_bucket_lets(pauses: list[float], per_minute: int) -> None:
    now = 0.0
    rates = Rates(lambda: now)
    passed: list[float] = []
    for pause in pauses:
        now += pause
        wait = rates.wait("x", per_minute)
        if not wait:
            passed.append(now)
        else:
            now += wait
            assert rates.wait("x", per_minute) == 0  # what was promised is kept
            passed.append(now)
    for first in range(len(passed)):
        for last in range(first, len(passed)):
            assert last - first + 1 <= per_minute + (passed[last] - passed[first]) * per_minute / 60 + 1e-3


# Bodies


def part(size: int, more: bool = False) -> Message:
    return {"type": "http.request", "body": b" " * size, "more_body": more}


def test_a_body_that_stops_coming(store: Storage) -> None:
    app = Guard(Served(), Settings(body_silence_seconds=0.05))
    status, _, document = answer(app, scope("/generate", "POST"), part(10, more=True), wait=True)
    assert (status, "0.05 s" in document["error"]) == (408, True)


def test_bodies_at_once_have_room_or_are_refused() -> None:
    """Also after requests that were refused, answered, or went away, there is as much room as before."""
    served = Served()
    app = Guard(served, Settings(max_bodies_bytes=1000))
    for _ in range(3):
        assert answer(app, scope("/generate", "POST"), part(600, more=True), part(400))[0] == 200
        status, headers, _ = answer(app, scope("/generate", "POST"), part(600, more=True), part(401))
        assert (status, headers["retry-after"]) == (503, "5")
        assert app.room.left == 1000
    assert answer(app, scope("/uploads", "POST"), part(5000))[0] == 200  # goes to disk


def test_json_is_small_whatever_uploads_may_be() -> None:
    app = Guard(Served(), Settings())
    asked = scope("/generate", "POST", content_length=str(9 * 2**20))
    assert answer(app, asked)[0] == 413
    asked = scope("/store-upload", "POST", content_length=str(9 * 2**20))
    assert answer(app, asked)[0] == 200


# What is written down


def test_a_request_and_its_change_are_written_down(store: Storage, caplog: pytest.LogCaptureFixture) -> None:
    token = keys.create(store, "web", ["train"], ["ada"])
    inner, _ = guarded(store)
    app = Journal(inner)
    caplog.set_level(logging.INFO, "producer_twin")
    asked = scope("/loras/ada:x\nFAKE 200", "DELETE", authorization=bearer(token), x_request_id="from-the-client")
    status, headers, _ = answer(app, asked)
    assert (status, headers["x-request-id"]) == (200, "from-the-client")
    lines = [record for record in caplog.records if record.name in ("producer_twin.access", "producer_twin.audit")]
    assert [line.name.rpartition(".")[2] for line in lines] == ["access", "audit"]
    for line in lines:
        assert "\n" not in line.getMessage()
        assert token not in str(line.__dict__)
        assert (line.status, line.method) == (200, "DELETE")  # type: ignore[attr-defined]
        assert line.principal == f"key {token.split('_')[1]}"  # type: ignore[attr-defined]


@pytest.mark.parametrize("given_id", ["", "x" * 65, "a b", "a\nb", "ü", '"}{'])
def test_a_request_id_that_is_not_plain_is_replaced(given_id: str) -> None:
    status, headers, _ = answer(Journal(Served()), scope(x_request_id=given_id))
    assert status == 200
    assert headers["x-request-id"] != given_id
    assert len(headers["x-request-id"]) == 32


def test_log_lines_hold_the_ids_and_no_lines_of_a_clients_making() -> None:
    record = logging.LogRecord("producer_twin.x", logging.INFO, "f", 1, "said %s", ("a\nb\x1b[31m",), None)
    with logs.request("r-1"):
        logs._Ids().filter(record)
    assert logs._Text(None).format(record).endswith("INFO producer_twin.x said a?b?[31m request_id=r-1")
    document = json.loads(logs._json().format(record))
    assert (document["request_id"], document["message"], document["level"]) == ("r-1", "said a\nb\x1b[31m", "INFO")
    assert "\n" not in logs._json().format(record)
    assert logs.request_id() == ""


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/generate", "/generate"),
        ("/jobs/abc/cancel", "/jobs"),
        ("/loras/a:b", "/loras"),
        ("/lorasx", "other"),
        ("/data/outputs/twins/a/x.wav", "/data/outputs"),
        ("/../../etc", "other"),
    ],
)
def test_metrics_name_routes_and_no_clients_words(path: str, route: str) -> None:
    assert route_of(path) == route
