"""The request log: ids, one line for each request, an audit line for each change."""

from __future__ import annotations

import asyncio
import json
import logging

import pytest
from starlette.types import Message, Receive, Scope, Send

from api.auth import keys
from api.middleware.request_log import RequestLog
from api.server.request_timeout import RequestTimeout
from core import logs
from storage import Storage
from tests.asgi import Served, answer, bearer, guarded, scope


def test_a_change_is_logged_and_audited(store: Storage, caplog: pytest.LogCaptureFixture) -> None:
    token = keys.create(store, "web", ["train"], ["ada"])
    inner, _ = guarded(store)
    app = RequestLog(inner)
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


@pytest.mark.parametrize(
    ("begun", "ends", "status"),
    [
        (True, False, 200),
        (False, False, 499),
        (False, True, 504),
    ],
)
def test_a_request_without_an_end_is_logged(
    begun: bool, ends: bool, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """A stream or a request whose client disconnects, and a request that times out."""

    async def stops(scope: Scope, receive: Receive, send: Send) -> None:
        if begun:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        await asyncio.sleep(60 if ends else 0)

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        pass

    caplog.set_level(logging.INFO, "producer_twin")
    asyncio.run(RequestTimeout(RequestLog(stops), 0.05)(scope("/jobs/x/events"), receive, send))
    (line,) = [record for record in caplog.records if record.name == "producer_twin.access"]
    assert line.status == status  # type: ignore[attr-defined]


@pytest.mark.parametrize("given_id", ["", "x" * 65, "a b", "a\nb", "ü", '"}{'])
def test_a_request_id_with_other_characters_is_replaced(given_id: str) -> None:
    status, headers, _ = answer(RequestLog(Served()), scope(x_request_id=given_id))
    assert status == 200
    assert headers["x-request-id"] != given_id
    assert len(headers["x-request-id"]) == 32


def test_log_lines_have_the_ids_and_no_line_breaks_of_clients() -> None:
    record = logging.LogRecord("producer_twin.x", logging.INFO, "f", 1, "said %s", ("a\nb\x1b[31m",), None)
    with logs.request("r-1"):
        logs._Ids().filter(record)
    assert logs._Text(None).format(record).endswith("INFO producer_twin.x said a?b?[31m request_id=r-1")
    document = json.loads(logs._json().format(record))
    assert (document["request_id"], document["message"], document["level"]) == ("r-1", "said a\nb\x1b[31m", "INFO")
    assert "\n" not in logs._json().format(record)
    assert logs.request_id() == ""
