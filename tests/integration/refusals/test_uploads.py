"""Uploads that are refused."""

from __future__ import annotations

from typing import Any

from tests.api import Api, Json, as_base64, beat
from tests.integration.refusals.cases import BAD_IDS, SONG, Case, assert_refused, cases

UPLOAD: Json = {"producer_id": "refused", "job_id": "j", "filename": "a.wav", "content_base64": SONG}


def upload(name: str, *names: str, status: int = 400, without: str = "", **changes: Any) -> Case:
    body = {key: value for key, value in (UPLOAD | changes).items() if key != without}
    return Case(name, "/store-upload", status, names, body)


@cases(
    upload("no producer", "producer_id", without="producer_id"),
    upload("null for the producer", "producer_id", producer_id=None),
    upload("no content", "content_base64", without="content_base64"),
    upload("an unknown field", "colour", colour="red"),
    upload("an unknown field in camel case", "artistName", artistName="x"),
    *(upload(f"producer: {name}", "producer_id", producer_id=bad) for name, bad in BAD_IDS.items()),
    *(upload(f"job: {name}", "job_id", job_id=bad) for name, bad in BAD_IDS.items()),
    upload("a producer in camel case", "producer_id", without="producer_id", producerId=".x"),
    *(upload(f"file name {bad!r}", "filename", filename=bad) for bad in ("", "/", "..", "a/..", "\\", ". .", "\x01")),
    upload("a file name of 256", "filename", filename="a" * 256),
    upload("a number for a file name", "filename", filename=5),
    upload("no base64", "content_base64", content_base64="!!!!"),
    upload("base64 without its padding", "content_base64", content_base64=SONG[:-1]),
    upload("base64 with umlauts", "content_base64", content_base64="üüüü"),
    upload("empty content", "content_base64", content_base64=""),
    upload("a number for content", "content_base64", content_base64=5),
    upload("text", "content_base64", content_base64=as_base64(b"hello, this is text and no audio" * 100)),
    upload("a file that is cut off", "content_base64", content_base64=as_base64(beat(1)[:-5000])),
    upload("a header with nothing behind it", "content_base64", content_base64=as_base64(beat(1)[:44])),
)
def test_uploads(api: Api, case: Case) -> None:
    assert_refused(api, case)


def test_other_bytes_at_the_same_path(api: Api) -> None:
    path = api.upload("refused", beat(1), job_id="taken", filename="a.wav")
    assert_refused(api, upload("", "filename", status=409, job_id="taken", content_base64=as_base64(beat(2))))
    assert api.file(path).read_bytes() == beat(1)
