"""`GET /webhooks`: each key and user has a secret and a list of its own; people without either have none."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from api.auth import keys as api_keys
from contract import TrackDeletedAnswer
from core.principal import Principal
from storage import Storage, webhooks, work_keys
from storage.webhooks import Deliveries
from tests.issuer import Issuer, served_issuer
from tests.signed_in import SignedIn

URL = "https://studio.example/hook"


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with served_issuer() as issuer:
        yield issuer


@pytest.fixture
def service(issuer: Issuer, store: Storage, tmp_path: Path) -> SignedIn:
    return SignedIn(issuer, store, tmp_path, allow_anonymous=True)


def test_each_caller_has_its_own(service: SignedIn, issuer: Issuer, store: Storage) -> None:
    token = api_keys.create(store, "web", ["generate"])
    account = Principal(f"key {token.split('_')[1]}").account
    now = datetime.now(UTC)
    for number in range(3):
        at = now + timedelta(seconds=number)
        Deliveries(store).add(account, URL, "track.done", str(number), TrackDeletedAnswer(track_id="x", deleted=[]), at)
    found = service.json("GET", "/webhooks", token)
    assert found["secret"] == Deliveries(store).secret(account) == service.json("GET", "/webhooks", token)["secret"]
    times = [each["created_at"] for each in found["deliveries"]]
    assert len(times) == 3 and times == sorted(times, reverse=True)
    other = service.json("GET", "/webhooks", issuer.token("ada-sub"))
    assert other["deliveries"] == [] and other["secret"] != found["secret"]
    assert service.ask("GET", "/webhooks").status_code == 403


def test_people_who_have_not_signed_in_get_no_webhooks(service: SignedIn, issuer: Issuer) -> None:
    body = {"prompt": "x", "duration_seconds": 0.5, "webhook_url": URL}
    refused = service.ask("POST", "/generate/submit", json=body)
    assert refused.status_code == 400 and "sign in" in refused.json()["error"]
    assert service.ask("POST", "/generate/submit", issuer.token("ada-sub"), json=body).status_code == 200


def test_old_deliveries_are_removed(store: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    data = TrackDeletedAnswer(track_id="x", deleted=[])
    Deliveries(store).add("a" * 32, URL, "track.done", "x", data, datetime.now(UTC))
    assert webhooks.clean(store) == 0
    monkeypatch.setattr(webhooks, "KEPT", timedelta(seconds=-1))
    assert webhooks.clean(store) == 1 and not list(store.list(work_keys.webhook_deliveries()))
