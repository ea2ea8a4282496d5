"""Signed-in users as principals: their producers, roles and limits, and everybody else where users sign in."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from api.auth import keys, sign_in
from api.auth.access import Access
from api.auth.keys import KeyRing
from api.auth.sign_in import OwnedProducers, SignIn
from api.capacity.request_limits import RequestLimits
from api.middleware.body_limits import BodyLimits
from core.principal import Principal
from core.settings import Settings
from storage import Storage, Unavailable
from storage.producers import Owner, Producers
from tests.asgi import Served, answer, bearer, scope
from tests.issuer import AUDIENCE, DISCOVERY, Issuer, served_issuer


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with served_issuer() as issuer:
        yield issuer


class Service:
    """The middleware over a storage whose users sign in at the issuer."""

    def __init__(self, issuer: Issuer, storage: Storage, **changes: Any) -> None:
        self.settings = Settings(auth_issuer=issuer.url, auth_audience=AUDIENCE, **changes)
        self.served = Served()
        self.sign_in = SignIn(storage, self.settings)
        ring = KeyRing(storage)
        app = BodyLimits(self.served, self.settings)
        self.app = Access(app, self.settings, lambda: ring, RequestLimits(self.settings), sign_in=lambda: self.sign_in)

    def status(self, token: str | None, path: str = "/backends", method: str = "GET", **headers: str) -> int:
        sent = headers if token is None else {"authorization": bearer(token)} | headers
        return answer(self.app, scope(path, method, **sent))[0]

    def principal(self, token: str | None, path: str = "/backends", method: str = "GET", **headers: str) -> Principal:
        """The principal that the request reaches the app with."""
        assert self.status(token, path, method, **headers) == 200
        return self.served.asked[-1][0]


@pytest.fixture
def service(issuer: Issuer, store: Storage) -> Service:
    return Service(issuer, store)


def test_a_user_may_generate_and_train_for_the_producers_they_own(
    issuer: Issuer, store: Storage, service: Service
) -> None:
    Producers(store).claim("ada", Owner(issuer.url, "ada-sub"))
    Producers(store).claim("bob", Owner(issuer.url, "bob-sub"))
    Producers(store).claim("eve", Owner("https://another.example", "ada-sub"))
    who = service.principal(issuer.token())
    assert (who.name, who.producers) == ("user ada-sub", frozenset({"ada"}))
    assert not service.served.asked[-1][1]["headers"]  # the token goes no further
    assert service.principal(issuer.token(), "/train", "POST").sees("ada")
    assert service.status(issuer.token(), "/metrics") == 403
    assert service.principal(issuer.token("newcomer")).producers == frozenset()


def test_the_tokens_claim_goes_before_the_records(issuer: Issuer, store: Storage, service: Service) -> None:
    Producers(store).claim("ada", Owner(issuer.url, "ada-sub"))
    who = service.principal(issuer.token(app_metadata={"producer_ids": ["one", "two"]}))
    assert (who.producers, who.may_claim) == (frozenset({"one", "two"}), False)
    assert service.principal(issuer.token(app_metadata={"producer_ids": []})).producers == frozenset()


@pytest.mark.parametrize("value", ["ada", {"ada": 1}, [["ada"], 7, "../ada", "", None], True, 7])
def test_a_claim_of_another_form_names_no_producer(
    issuer: Issuer, store: Storage, service: Service, value: Any
) -> None:
    """A text must not count as a list of one-letter producers."""
    Producers(store).claim("ada", Owner(issuer.url, "ada-sub"))
    assert service.principal(issuer.token(app_metadata={"producer_ids": value})).producers == frozenset()


def test_an_administrator_sees_every_producer(issuer: Issuer, service: Service) -> None:
    roles: tuple[Any, ...] = ("admin", ["editor", "admin"])
    for role in roles:
        who = service.principal(issuer.token(app_metadata={"role": role}), "/metrics")
        assert who.producers is None
    others: tuple[Any, ...] = ("administrator", "Admin", {"admin": True}, ["admins"], True)
    for role in others:
        assert service.status(issuer.token(app_metadata={"role": role}), "/metrics") == 403
    # Users write this one themselves.
    assert service.status(issuer.token(user_metadata={"role": "admin"}), "/metrics") == 403


def test_claims_have_the_names_of_the_settings(issuer: Issuer, store: Storage) -> None:
    service = Service(issuer, store, auth_producers_claim="https://twin.example/of", auth_role_claim="groups")
    named: dict[str, Any] = {"https://twin.example/of": ["ada"]}
    assert service.principal(issuer.token(**named)).sees("ada")
    assert service.principal(issuer.token(groups=["admin"])).producers is None


def test_a_bad_token_is_refused_and_says_why(issuer: Issuer, service: Service) -> None:
    expired = issuer.token(exp=int(time.time()) - 3600)
    status, headers, document = answer(service.app, scope(authorization=bearer(expired)))
    assert (status, headers["www-authenticate"], "expired" in document["error"]) == (401, "Bearer", True)
    assert service.status(issuer.token(aud="another")) == 401
    assert service.status("") == 401
    assert not service.served.asked


def test_keys_go_on_beside_tokens(issuer: Issuer, store: Storage, service: Service) -> None:
    token = keys.create(store, "server", ["train"], ["ada"])
    who = service.principal(token, "/jobs")
    assert (who.producers, who.subject) == (frozenset({"ada"}), None)
    assert service.status(token[:-1]) == 401
    assert service.status(issuer.token()) == 200


def test_without_a_token_nobody_is_served_not_even_this_machine(service: Service) -> None:
    """A web app on this machine sends requests of people who have not signed in."""
    assert service.status(None) == 401
    assert service.status(None, "/generate", "POST") == 401


def test_anonymous_people_may_generate_only(issuer: Issuer, store: Storage) -> None:
    service = Service(issuer, store, allow_anonymous=True)
    who = service.principal(None, "/generate", "POST")
    assert (who.scopes, who.producers) == (frozenset({"generate"}), frozenset())
    assert service.status(None, "/train", "POST") == 401
    assert service.status("nonsense") == 401


def test_a_signed_in_user_needs_no_password(issuer: Issuer, store: Storage) -> None:
    service = Service(issuer, store, nawfside_app_password="open sesame")
    assert service.status(issuer.token(), "/train", "POST") == 200
    key = keys.create(store, "server", ["train"])
    assert service.status(key, "/train", "POST") == 401
    assert service.status(key, "/train", "POST", x_train_password="open sesame") == 200


def test_each_user_has_a_rate(issuer: Issuer, store: Storage) -> None:
    service = Service(issuer, store, key_requests_per_minute=2)
    token = issuer.token()
    assert [service.status(token) for _ in range(3)] == [200, 200, 429]
    assert service.status(issuer.token("bob-sub")) == 200


def test_links_are_for_the_request_alone_and_few(issuer: Issuer, service: Service) -> None:
    who = service.principal(issuer.token(), x_twin_link=" one, two,," + "x" * 65)
    assert who.links == {"one", "two"}
    assert not service.served.asked[-1][1]["headers"]
    many = ",".join(f"link{number}" for number in range(1000))
    assert len(service.principal(issuer.token(), x_twin_link=many).links) == 8


def test_a_producer_that_was_just_claimed_is_seen_by_requests_that_write(
    issuer: Issuer, store: Storage, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another replica may have claimed it; those that read see it some seconds later."""
    monkeypatch.setattr(sign_in, "MAX_AGE", 600.0)
    token = issuer.token("claimer")
    assert not service.principal(token).sees("new")
    owner = Owner(issuer.url, "claimer")
    Producers(store).claim("new", owner)
    assert not service.principal(token).sees("new")
    assert service.principal(token, "/train", "POST").sees("new")
    assert service.principal(token).sees("new")
    Producers(store).delete("new")
    assert not service.principal(token, "/train", "POST").sees("new")


def test_the_writes_of_a_user_take_one_thread_and_see_what_was_claimed_before_them(store: Storage) -> None:
    ada = Owner("https://issuer.example", "ada-sub")
    begun, may_end, reads = threading.Event(), threading.Event(), list[frozenset[str]]()

    class Slow(Producers):
        def of_owner(self, owner: Owner) -> frozenset[str]:
            found = super().of_owner(owner)
            reads.append(found)
            begun.set()
            assert may_end.wait(10)
            return found

    async def ask() -> list[frozenset[str]]:
        owned = OwnedProducers(Slow(store))
        first = asyncio.create_task(owned.of(ada, fresh=True))
        assert await asyncio.to_thread(begun.wait, 10)
        Producers(store).claim("new", ada)
        later = asyncio.gather(*(owned.of(ada, fresh=True) for _ in range(50)))
        await asyncio.sleep(0.2)
        may_end.set()
        return [await first, *await later]

    first, *later = asyncio.run(ask())
    assert not first and set(later) == {frozenset({"new"})}
    assert len(reads) == 2


def test_while_storage_is_away_the_producers_last_read_count(
    issuer: Issuer, store: Storage, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sign_in, "MAX_AGE", 0.0)
    Producers(store).claim("ada", Owner(issuer.url, "ada-sub"))
    assert service.principal(issuer.token()).sees("ada")

    def away(*_: Any) -> None:
        raise Unavailable(503, "the storage is away")

    monkeypatch.setattr(Producers, "of_owner", away)
    assert service.principal(issuer.token()).sees("ada")
    assert service.status(issuer.token(), "/train", "POST") == 503  # they may be another's by now
    assert service.status(issuer.token("bob-sub")) == 503
    assert service.principal(issuer.token("bob-sub", app_metadata={"producer_ids": ["bob"]})).sees("bob")


def test_ten_minutes_without_the_issuer_sign_nobody_out(store: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    with served_issuer() as issuer:
        service = Service(issuer, store)
        assert service.status(issuer.token()) == 200
        issuer.answers[DISCOVERY] = (503, {}, b"")
        now = time.monotonic()
        for minute in range(1, 11):
            monkeypatch.setattr(service.sign_in.verifier.keys, "_clock", lambda minute=minute: now + 60 * minute)
            assert service.status(issuer.token()) == 200
    assert service.status(issuer.token()) == 200  # its server has ended
