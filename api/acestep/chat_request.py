"""Reads a request to `/v1/chat/completions`: the fields of `/release_task`, and the recordings in the message."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from contract import MAX_LYRICS, MAX_PROMPT
from core.errors import Refusal

# Fields that say how to answer, or that every client of such an API sends.
_OF_THE_CHAT = ("messages", "stream", "stream_options", "modalities", "audio_config", "user")
# A field's name in `audio_config` where `/release_task` has another.
_RENAMED = {"format": "audio_format"}
# Both read a text once: a search that begins anew at each tag or empty line would take hours for some megabytes.
_TAGGED = re.compile(r"<(prompt|lyrics)>((?:(?!<\1>).)*?)</\1>", re.DOTALL | re.IGNORECASE)
_LYRICS = re.compile(
    r"^[^\S\n]*\[(verse|chorus|pre-chorus|bridge|intro|outro|hook|refrain)\b", re.IGNORECASE | re.MULTILINE
)
# Lyrics alone are no description, which the model needs.
_PROMPT_OF_LYRICS = "a song"
_MAX_TEXT = MAX_PROMPT + MAX_LYRICS + 1_000  # with the tags around them


@dataclass(frozen=True)
class ChatRequest:
    """A request for tracks.

    Attributes:
        fields: those of `/release_task`.
        recordings: files, by `source` and `reference`.
        stream: the answer is wanted as server-sent events.
    """

    fields: dict[str, Any]
    recordings: dict[str, bytes]
    stream: bool


def chat_request(body: Mapping[str, Any]) -> ChatRequest:
    """Raises Refusal (400)."""
    text, audio = _last_message(body.get("messages"))
    fields = {name: value for name, value in body.items() if name not in _OF_THE_CHAT and value is not None}
    config = body.get("audio_config") or {}
    if not isinstance(config, dict):
        raise Refusal(400, "audio_config: it must be an object")
    config = {_RENAMED.get(name, name): value for name, value in config.items()}
    # Earlier clients send it beside the messages.
    if (fields.pop("instrumental", False) or config.pop("instrumental", False)) and not fields.get("lyrics"):
        config["lyrics"] = "[Instrumental]"
    fields = {"batch_size": 1} | config | fields | _texts(text, has_lyrics="lyrics" in fields)
    if "seed" in fields:
        fields.setdefault("use_random_seed", False)
    starts_from_source = fields.get("task_type") not in (None, "text2music")
    names = ("source", "reference") if starts_from_source else ("reference",)
    if len(audio) > len(names):
        raise Refusal(400, f"messages: {len(names)} recording(s) can be used, not {len(audio)}; send fewer input_audio")
    return ChatRequest(fields, dict(zip(names, audio, strict=False)), body.get("stream") is True)


def _texts(text: str, has_lyrics: bool) -> dict[str, str]:
    """The prompt and the lyrics. A text without tags is the one or the other; beside tagged lyrics it is the prompt."""
    tagged = {name.lower(): inner.strip() for name, inner in _TAGGED.findall(text)}
    if tagged:
        rest = _TAGGED.sub("", text).strip()
        return ({"prompt": rest} if rest else {}) | tagged
    if not has_lyrics and _LYRICS.search(text):
        return {"prompt": _PROMPT_OF_LYRICS, "lyrics": text.strip()}
    return {"prompt": text.strip()} if text.strip() else {}


def _last_message(messages: Any) -> tuple[str, list[bytes]]:
    """The text and the recordings of the last message of the user."""
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        raise Refusal(400, 'messages: send a list of messages, such as {"role": "user", "content": "dark trap"}')
    sent = [message for message in messages if message.get("role") == "user"]
    if not sent:
        raise Refusal(400, "messages: there is none of the user; send a description of the music")
    content = sent[-1].get("content")
    parts = content if isinstance(content, list) else [{"type": "text", "text": content}]
    texts, audio = [], []
    for part in parts:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "text" and isinstance(part.get("text"), str):
            texts.append(part["text"])
        elif kind == "input_audio":
            audio.append(_decoded(part.get("input_audio")))
        else:
            raise Refusal(400, "messages: the content must be a text, or parts of the types text and input_audio")
    text = "\n".join(texts)
    if len(text) > _MAX_TEXT:
        raise Refusal(400, f"messages: the text has over {_MAX_TEXT} characters; send a shorter one")
    return text, audio


def _decoded(audio: Any) -> bytes:
    data = audio.get("data") if isinstance(audio, dict) else None
    if not isinstance(data, str) or not data:
        raise Refusal(400, "messages: input_audio has no data; send the file as base64")
    try:
        return base64.b64decode(data.partition(",")[2] if data.startswith("data:") else data, validate=True)
    except (binascii.Error, ValueError):
        raise Refusal(400, "messages: the data of input_audio is not valid base64") from None
