"""Storage in S3: errors of the server and lost answers."""

from __future__ import annotations

import time

import pytest

from storage import Unavailable, open_storage
from tests.s3_server import BUCKET, CREDENTIALS, S3Server, serve_s3
from tests.unit.storage.conftest import bucket_of


def test_a_bucket_that_is_not_there_and_wrong_secrets(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Unavailable, match="no bucket nowhere") as refusal:
        open_storage("s3://nowhere/x", s3_server.endpoint).get("a")
    assert refusal.value.status == 503
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(Unavailable, match="AWS_ACCESS_KEY_ID"):
        open_storage(f"s3://{BUCKET}/x", s3_server.endpoint).put("a", b"x")


def test_a_server_that_dies_is_503_and_its_answers_are_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    with serve_s3() as server:
        store = open_storage(server.url("x"), server.endpoint)
        etag = store.put("a", b"x")
        # A retry of a write whose answer was lost finds its own object in the way.
        client = bucket_of(store)._client
        put = client.put_object

        def twice(**request: object) -> object:
            put(**request)
            return put(**request)

        monkeypatch.setattr(client, "put_object", twice)
        assert store.put("b", b"y", if_absent=True) == store.get_with_etag("b")[1]
        assert store.put("a", b"z", if_match=etag) == store.get_with_etag("a")[1]
    start = time.monotonic()
    with pytest.raises(Unavailable) as refusal:
        store.get("a")
    assert refusal.value.status == 503
    assert time.monotonic() - start < 30
