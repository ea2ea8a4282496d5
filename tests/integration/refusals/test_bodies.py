"""Bodies that are not a JSON object, and other content types."""

from __future__ import annotations

from tests.api import Api, error_of
from tests.integration.refusals.cases import JSON, POSTS, Case, assert_refused, cases

BODIES = {
    "nothing": b"",
    "not JSON": b"{",
    "text": b"hello",
    "JSON that ends early": b'{"prompt": "x"',
    "an array": b"[]",
    "a string": b'"x"',
    "a number": b"5",
    "null": b"null",
    "not UTF-8": b'{"prompt": "\xff"}',
    "half a surrogate pair": b'{"prompt": "\\ud800"}',
    "nested too deep": b"[" * 100_000,
}


@cases(
    *(
        Case(name, path, 400, (), options={"content": body, "headers": JSON})
        for path in POSTS
        for name, body in BODIES.items()
    )
)
def test_what_is_no_json_object(api: Api, case: Case) -> None:
    assert_refused(api, case)


@cases(
    *(
        Case(kind, path, 415, ("content-type",), options={"content": b"{}", "headers": {"content-type": kind}})
        for path in POSTS
        for kind in ("text/plain", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded", "audio/wav")
    )
)
def test_another_content_type(api: Api, case: Case) -> None:
    assert_refused(api, case)


def test_an_error_is_json_also_where_audio_was_asked_for(api: Api) -> None:
    case = Case("", "/generate", 400, ("prompt",), options={"json": {}, "headers": {"accept": "audio/*"}})
    assert_refused(api, case)


def test_many_errors_in_one_body_are_one_short_sentence(api: Api) -> None:
    unknown = {f"unknown{i}" * 100: i for i in range(5000)}
    answer = assert_refused(api, Case("", "/generate", 400, ("unknown0",), {"prompt": "x"} | unknown))
    assert len(answer.content) < 10_000


def test_a_bad_body_leaves_no_traceback_and_no_words_in_the_log(api: Api) -> None:
    for path in ("/generate", "/store-upload", "/train"):
        error_of(api.client.post(path, json={"prompt": ["words of a client"]}), 400)
    log = api.server.log.read_text(errors="replace")
    assert "IODescriptor" not in log and "words of a client" not in log
