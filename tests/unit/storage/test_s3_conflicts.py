"""AWS's 409 ConditionalRequestConflict, which SeaweedFS never answers: a stub server does, as often as a test says."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from hashlib import md5
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

import storage.s3
from storage import AlreadyExists, Changed, Storage, Unavailable, open_storage
from tests.s3_server import CREDENTIALS

CONFLICT = b"<Error><Code>ConditionalRequestConflict</Code><Message>a conflict</Message></Error>"
FAILED = b"<Error><Code>PreconditionFailed</Code><Message>it exists</Message></Error>"
Object = tuple[bytes, dict[str, str]]


class Stub(ThreadingHTTPServer):
    """One object of one bucket.

    Attributes:
        conflicts: how many of the next conditional writes are answered with 409.
        meanwhile: what another client does at each of them.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.object: Object | None = None
        self.parts: dict[int, bytes] = {}
        self.metadata: dict[str, str] = {}
        self.uploads = 0
        self.writes = 0
        self.conflicts = 0
        self.meanwhile: Callable[[], None] = lambda: None

    def etag(self) -> str | None:
        return f'"{md5(self.object[0]).hexdigest()}"' if self.object else None


class Handler(BaseHTTPRequestHandler):
    server: Stub

    def do_HEAD(self) -> None:
        if self.server.object is None:
            self.answer(404)
        else:
            data, metadata = self.server.object
            self.answer(200, headers=metadata | {"Content-Length": str(len(data))})

    def do_PUT(self) -> None:
        data, query = self.body(), parse_qs(urlsplit(self.path).query)
        if "partNumber" in query:
            self.server.parts[int(query["partNumber"][0])] = data
            self.answer(200, headers={"ETag": '"part"'})
        else:
            self.write(data, self.sent_metadata())

    def do_POST(self) -> None:
        self.body()
        if "uploads" in parse_qs(urlsplit(self.path).query, keep_blank_values=True):
            self.server.uploads += 1
            self.server.parts, self.server.metadata = {}, self.sent_metadata()
            self.answer(200, b"<R><UploadId>u</UploadId></R>")
        else:
            self.write(
                b"".join(self.server.parts[number] for number in sorted(self.server.parts)), self.server.metadata
            )

    def do_DELETE(self) -> None:
        self.answer(204)

    def write(self, data: bytes, metadata: dict[str, str]) -> None:
        stub = self.server
        stub.writes += 1
        if stub.conflicts:
            stub.conflicts -= 1
            stub.meanwhile()
            self.answer(409, CONFLICT)
        elif self.headers.get("If-Match", stub.etag()) != stub.etag() or (
            "If-None-Match" in self.headers and stub.object
        ):
            self.answer(412, FAILED)
        else:
            stub.object = data, metadata
            self.answer(200, f"<R><ETag>{stub.etag()}</ETag></R>".encode())

    def sent_metadata(self) -> dict[str, str]:
        return {name: value for name, value in self.headers.items() if name.lower().startswith("x-amz-meta-")}

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def answer(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        etag = {"ETag": etag} if (etag := self.server.etag()) else {}
        for name, value in ({"Content-Length": str(len(body))} | etag | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stub]:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(storage.s3, "CONFLICT_PAUSES", (0.01, 0.01))
    with Stub() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def store(stub: Stub) -> Storage:
    return open_storage("s3://twins/tests", f"http://127.0.0.1:{stub.server_address[1]}")


@pytest.mark.slow
def test_a_write_is_sent_again_while_its_condition_holds(store: Storage, stub: Stub, tmp_path: Path) -> None:
    stub.conflicts = 1
    etag = store.put("a", b"one", if_absent=True)
    stub.conflicts = 2
    store.put("a", b"two", if_match=etag)
    assert stub.object is not None and stub.object[0] == b"two"
    assert stub.writes == 5
    # A file is read again from its start.
    stub.object, stub.conflicts = None, 1
    (tmp_path / "file").write_bytes(b"three")
    store.put_file("a", tmp_path / "file", if_absent=True)
    assert stub.object[0] == b"three"  # type: ignore[index]


def test_an_object_that_appeared_meanwhile_stays(store: Storage, stub: Stub) -> None:
    def appear() -> None:
        stub.object = b"another's", {}

    stub.conflicts, stub.meanwhile = 1, appear
    with pytest.raises(AlreadyExists):
        store.put("a", b"mine", if_absent=True)
    assert stub.object == (b"another's", {}) and stub.writes == 1


@pytest.mark.slow
@pytest.mark.parametrize("left", [None, (b"another's", {})])
def test_an_object_that_changed_or_went_meanwhile(store: Storage, stub: Stub, left: Object | None) -> None:
    etag = store.put("a", b"one")

    def change() -> None:
        stub.object = left

    stub.conflicts, stub.meanwhile = 1, change
    with pytest.raises(Changed):
        store.put("a", b"two", if_match=etag)
    assert stub.object == left


def test_our_own_write_whose_answer_was_lost_is_a_success(store: Storage, stub: Stub) -> None:
    """The request that boto3 sends again conflicts with the first one."""
    write = Handler.write

    def written_and_conflicting(handler: Handler, data: bytes, metadata: dict[str, str]) -> None:
        stub.object, stub.conflicts = (data, metadata), 1
        write(handler, data, metadata)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Handler, "write", written_and_conflicting)
        assert f'"{store.put("a", b"mine", if_absent=True)}"' == stub.etag()
    assert stub.writes == 1


@pytest.mark.slow
def test_a_multipart_upload_begins_anew(
    store: Storage, stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AWS wants its parts uploaded again."""
    monkeypatch.setattr(storage.s3, "MULTIPART_BYTES", 10)
    monkeypatch.setattr(storage.s3, "PART_BYTES", 8)
    stub.conflicts = 1
    (tmp_path / "file").write_bytes(b"0123456789" * 3)
    store.put_file("a", tmp_path / "file", if_absent=True)
    assert stub.object is not None and stub.object[0] == b"0123456789" * 3
    assert stub.uploads == 2


@pytest.mark.slow
def test_conflicts_without_end_are_503(store: Storage, stub: Stub) -> None:
    stub.conflicts = 100
    with pytest.raises(Unavailable) as refusal:
        store.put("a", b"mine", if_absent=True)
    assert refusal.value.status == 503
    assert stub.writes == 3
