"""Messages of a chat as requests for tracks."""

from __future__ import annotations

import base64
import time
from typing import Any

import pytest

from api.acestep import chat_request as chat_request_module
from api.acestep.chat_request import ChatRequest, chat_request
from core.errors import Refusal

SONG = {"type": "input_audio", "input_audio": {"data": base64.b64encode(b"RIFF").decode(), "format": "wav"}}
OTHER = {"type": "input_audio", "input_audio": {"data": "data:audio/wav;base64,T2dn", "format": "wav"}}


def of(content: Any, **body: Any) -> ChatRequest:
    return chat_request({"model": "x", "messages": [{"role": "user", "content": content}]} | body)


def test_a_message_is_a_prompt() -> None:
    request = of("dark trap")
    assert request.fields == {"batch_size": 1, "model": "x", "prompt": "dark trap"} and not request.stream
    earlier = [{"role": "system", "content": "be kind"}, {"role": "user", "content": "jazz"}]
    body = {"messages": [*earlier, {"role": "assistant", "content": "here"}, {"role": "user", "content": "rock"}]}
    assert chat_request(body | {"stream": True}).fields["prompt"] == "rock"


def test_tagged_texts_and_lyrics() -> None:
    tagged = of("<prompt> soft folk </prompt>\n<lyrics>[Verse 1]\nHello</lyrics>").fields
    assert (tagged["prompt"], tagged["lyrics"]) == ("soft folk", "[Verse 1]\nHello")
    rest = of("soft folk\n<lyrics>[Verse 1]\nHello</lyrics>").fields
    assert (rest["prompt"], rest["lyrics"]) == ("soft folk", "[Verse 1]\nHello")
    alone = of("[Verse 1]\nHello\n[Chorus]\nWorld").fields
    assert alone["prompt"] and alone["lyrics"].startswith("[Verse 1]")
    beside = of("soft folk", lyrics="[Verse]\nHello").fields
    assert (beside["prompt"], beside["lyrics"]) == ("soft folk", "[Verse]\nHello")


def test_the_audio_config() -> None:
    config = {"duration": 30, "format": "wav", "bpm": 120, "key_scale": "C Major", "instrumental": True}
    fields = of("x", audio_config=config, seed=7).fields
    assert (fields["duration"], fields["audio_format"], fields["bpm"]) == (30, "wav", 120)
    assert fields["lyrics"] == "[Instrumental]" and fields["use_random_seed"] is False


def test_recordings() -> None:
    text = {"type": "text", "text": "drum fill"}
    assert of([text, SONG]).recordings == {"reference": b"RIFF"}
    request = of([SONG, text, OTHER], task_type="repaint", repainting_start=1)
    assert request.recordings == {"source": b"RIFF", "reference": b"Ogg"} and request.fields["prompt"] == "drum fill"


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({}, "messages: send a list"),
        ({"messages": ["x"]}, "messages: send a list"),
        ({"messages": [{"role": "system", "content": "x"}]}, "messages: there is none of the user"),
        ({"messages": [{"role": "user"}]}, "messages: the content must be"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages: the content must be"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "messages: input_audio has no data"),
        (
            {"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "%"}}]}]},
            "messages: the data of input_audio is not valid base64",
        ),
        ({"messages": [{"role": "user", "content": [SONG, OTHER]}]}, "messages: 1 recording(s) can be used"),
        ({"messages": [{"role": "user", "content": "x"}], "audio_config": 7}, "audio_config: it must be an object"),
        ({"messages": [{"role": "user", "content": "<prompt>" * 2_000}]}, "messages: the text has over"),
    ],
)
def test_bad_messages(body: dict[str, Any], sentence: str) -> None:
    with pytest.raises(Refusal) as refused:
        chat_request(body)
    assert refused.value.status == 400 and refused.value.message.startswith(sentence)


@pytest.mark.parametrize(
    ("pattern", "text"), [("_TAGGED", "<prompt>"), ("_TAGGED", "<prompt><lyrics>"), ("_LYRICS", "\n ")]
)
def test_a_text_is_searched_in_a_time_that_grows_with_its_length(pattern: str, text: str) -> None:
    started = time.process_time()
    assert not getattr(chat_request_module, pattern).search(text * 10_000)
    assert time.process_time() - started < 1
