"""The issuer's keys: fetched from the issuer alone, cached, rotated, and known while the issuer is away."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import jwt
import pytest

from api.auth import issuer_keys
from api.auth.issuer_keys import IssuerKeys
from storage import Unavailable
from tests.api import wait_until
from tests.issuer import DISCOVERY, JWKS, Issuer, private_key, public_jwk, served_issuer


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with served_issuer() as issuer:
        yield issuer


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def found(keys: IssuerKeys, key_id: str = "RS256-0", algorithm: str = "RS256") -> jwt.PyJWK | None:
    return asyncio.run(keys.find(algorithm, key_id))


def test_keys_are_found_by_discovery_and_cached(issuer: Issuer) -> None:
    keys = IssuerKeys(issuer.url)
    for algorithm in ("RS256", "ES256", "EdDSA"):
        assert found(keys, f"{algorithm}-0", algorithm)
    assert issuer.asked == {DISCOVERY: 1, JWKS: 1}


def test_without_a_discovery_document_they_are_where_supabase_has_them(issuer: Issuer) -> None:
    issuer.answers[DISCOVERY] = (404, {}, b"")
    assert found(IssuerKeys(issuer.url))


def test_an_unknown_key_is_asked_for_once_a_minute(issuer: Issuer) -> None:
    clock = Clock()
    keys = IssuerKeys(issuer.url, clock=clock)
    for _ in range(5):
        assert found(keys, "nobody's") is None
    assert issuer.asked[JWKS] == 1
    clock.now += issuer_keys.UNKNOWN_KEY_PAUSE
    for _ in range(5):
        assert found(keys, "nobody's") is None
    assert issuer.asked[JWKS] == 2


def test_a_new_key_is_known_within_a_minute_and_a_withdrawn_one_ends(issuer: Issuer) -> None:
    clock = Clock()
    keys = IssuerKeys(issuer.url, clock=clock)
    assert found(keys)
    issuer.keys = [public_jwk(private_key("RS256", 1), kid="new")]
    clock.now += issuer_keys.UNKNOWN_KEY_PAUSE
    assert found(keys, "new")
    assert found(keys) is None


def test_a_key_that_was_withdrawn_ends_though_nobody_asks_for_another(issuer: Issuer) -> None:
    clock = Clock()
    keys = IssuerKeys(issuer.url, clock=clock)
    assert found(keys)
    issuer.keys = issuer.keys[1:]
    clock.now += issuer_keys.MAX_AGE + 1
    assert found(keys)  # the request does not wait for the new ones
    wait_until(lambda: found(keys) is None, patience=10)


def test_while_the_issuer_is_away_its_keys_go_on_for_a_day(issuer: Issuer) -> None:
    clock = Clock()
    keys = IssuerKeys(issuer.url, clock=clock)
    assert found(keys)
    issuer.answers = {DISCOVERY: (500, {}, b"")}
    for _ in range(10):
        clock.now += 60
        assert found(keys)
    clock.now += issuer_keys.MAX_STALE
    with pytest.raises(Unavailable):
        found(keys)


def test_an_issuer_that_was_never_reached_is_a_503_and_is_tried_again(issuer: Issuer) -> None:
    clock = Clock()
    keys = IssuerKeys(issuer.url, clock=clock)
    good, issuer.answers = issuer.answers, {DISCOVERY: (500, {}, b"")}
    for _ in range(3):
        with pytest.raises(Unavailable) as refusal:
            found(keys)
    assert refusal.value.status == 503 and issuer.asked[DISCOVERY] == 1
    issuer.answers = good
    clock.now += issuer_keys.FIRST_KEYS_PAUSE
    assert found(keys)


@pytest.mark.slow
def test_a_slow_issuer_holds_up_nobody_else(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop stays free, those who need the keys wait for PATIENCE, and all of them for one fetch."""
    monkeypatch.setattr(issuer_keys, "PATIENCE", 0.3)
    issuer.delay = 1.0
    keys = IssuerKeys(issuer.url)
    pauses = []

    async def ask() -> None:
        with pytest.raises(Unavailable):
            await keys.find("RS256", "RS256-0")

    async def watch() -> None:
        for _ in range(20):
            start = time.monotonic()
            await asyncio.sleep(0.01)
            pauses.append(time.monotonic() - start)

    async def both() -> float:
        start = time.monotonic()
        await asyncio.gather(watch(), *(ask() for _ in range(20)))
        return time.monotonic() - start

    assert asyncio.run(both()) < 0.9
    assert max(pauses) < 0.25
    wait_until(lambda: keys._keys is not None, patience=10)
    assert issuer.asked[DISCOVERY] == 1


@pytest.mark.parametrize("part", [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 99999\r\n\r\n"])
def test_an_issuer_whose_answer_drips_is_given_up(part: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte comes in time, in the headers or in the body, and the end never does."""
    monkeypatch.setattr(issuer_keys, "FETCH_TIMEOUT", 0.5)
    monkeypatch.setattr(issuer_keys, "PATIENCE", 0.1)
    ended = threading.Event()

    def drip(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection, suppress(OSError):
            connection.sendall(part)
            while True:
                connection.sendall(b"x")
                time.sleep(0.02)
        ended.set()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=drip, args=(listener,), daemon=True).start()
        keys = IssuerKeys(f"http://127.0.0.1:{listener.getsockname()[1]}/auth/v1")
        start = time.monotonic()
        with pytest.raises(Unavailable):
            found(keys)
        assert time.monotonic() - start < 0.4
        assert ended.wait(5), "the thread that fetches is held"
        wait_until(lambda: keys._fetch is not None and keys._fetch.done(), patience=5)


def _redirect(issuer: Issuer, other: Issuer) -> None:
    issuer.answers[JWKS] = (302, {"location": other.url.removesuffix("/auth/v1") + JWKS}, b"")


def _discovery(issuer: Issuer, /, **changes: Any) -> None:
    document = {"issuer": issuer.url, "jwks_uri": issuer.url + "/.well-known/jwks.json"} | changes
    issuer.answers[DISCOVERY] = (200, {}, json.dumps(document).encode())


def _compressed(issuer: Issuer) -> None:
    body = gzip.compress(json.dumps({"keys": issuer.keys}).encode())
    issuer.answers[JWKS] = (200, {"content-encoding": "gzip"}, body)


ATTACKS: dict[str, Callable[[Issuer, Issuer], None]] = {
    "a redirect to another host": _redirect,
    "keys on another host": lambda issuer, other: _discovery(issuer, jwks_uri=other.url + "/.well-known/jwks.json"),
    "keys by a scheme that is not HTTP": lambda issuer, _: _discovery(issuer, jwks_uri="file:///etc/passwd"),
    "keys at no URL": lambda issuer, _: _discovery(issuer, jwks_uri=["x"]),
    "a document of another issuer": lambda issuer, other: _discovery(issuer, issuer=other.url),
    "a huge answer": lambda issuer, _: issuer.answers.update({JWKS: (200, {}, b" " * 2**20 + b'{"keys": []}')}),
    "a compressed answer": lambda issuer, _: _compressed(issuer),
    "no JSON": lambda issuer, _: issuer.answers.update({JWKS: (200, {}, b"<html>")}),
    "nested JSON": lambda issuer, _: issuer.answers.update({JWKS: (200, {}, b"[" * 100_000)}),
    "keys that are no list": lambda issuer, _: issuer.answers.update({JWKS: (200, {}, b'{"keys": {}}')}),
}


@pytest.mark.slow
@pytest.mark.parametrize("attack", ATTACKS)
def test_an_answer_that_cannot_be_trusted_brings_no_keys(issuer: Issuer, attack: str) -> None:
    with served_issuer() as other:
        ATTACKS[attack](issuer, other)
        with pytest.raises(Unavailable):
            found(IssuerKeys(issuer.url))
        assert other.asked[JWKS] == 0


def test_keys_on_another_host_are_fetched_where_the_operator_names_them(issuer: Issuer) -> None:
    with served_issuer() as other:
        assert found(IssuerKeys("https://issuer.example", other.url + "/.well-known/jwks.json"))
    assert not issuer.asked
