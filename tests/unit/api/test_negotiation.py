"""Which answer a client's `Accept` asks for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.routes.negotiation import audio_format
from contract import FORMATS, OutputFormat

CHROME = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", None),
        ("*/*", None),
        ("application/json", None),
        ("application/json, */*", None),
        ("application/json, text/plain, */*", None),
        (CHROME, None),
        ("audio/mpeg", "mp3"),
        ("AUDIO/MPEG", "mp3"),
        ("audio/mp3", "mp3"),
        ("audio/flac", "flac"),
        ("audio/ogg", "opus"),
        ('audio/ogg; codecs="opus"', "opus"),
        ("audio/wav", "wav"),
        ("audio/x-wav", "wav"),
        ("audio/*", "wav"),
        ("audio/mpeg, */*", "mp3"),
        ("*/*, audio/mpeg", "mp3"),
        ("audio/mpeg;q=0.5, audio/flac;q=0.9, */*;q=0.1", "flac"),
        ("audio/flac ; q=0.2 , audio/mpeg ; q=0.3", "mp3"),
        ("audio/mpeg;q=0, audio/*", "wav"),
        ("audio/wav;q=0, audio/*;q=0.5", "mp3"),
        ("audio/*;q=0, */*", None),
        ("audio/*;q=0.5, application/json", None),
        ("audio/mpeg, application/json;q=0.9", "mp3"),
        ("application/json, audio/mpeg", None),
        ("audio/mpeg, application/json", "mp3"),
        ("application/json;q=0, */*", "wav"),
        ('audio/mpeg;x="a,b;q=0";q=0.2, audio/flac;q=0.1', "mp3"),
        ("audio/aac", None),
        ("audio/aac, audio/*;q=0.1", "wav"),
        ("audio/ogg;codecs=vorbis", None),
        ("image/png", None),
        ("audio/mpeg;q=high", None),
        ("audio, *, */mpeg, ;q=1, ,", None),
    ],
)
def test_what_is_asked_for(accept: str, expected: OutputFormat | None) -> None:
    assert audio_format(accept, None) == expected
    # The body's word counts before the header's, on the format but not on whether it is the audio itself.
    assert audio_format(accept, "flac") == (expected and "flac")


@pytest.mark.slow
@given(
    st.text()
    | st.lists(st.sampled_from(['"', "\\", ",", ";", "q=", "0.5", "audio/", "*", "*/*", "mpeg", " "])).map("".join)
)
def test_any_header_has_an_answer(accept: str) -> None:
    assert audio_format(accept, None) in (None, *FORMATS)


@pytest.mark.timeout(10)
def test_a_long_header_takes_no_time() -> None:
    for part in ('"', '"\\', "a/b;q=", ";", ",", 'x;y="'):
        audio_format(part * 60_000, None)
