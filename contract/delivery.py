"""The fields of `POST /generate` that say how a track is delivered: format, bit depth, loudness, loop, as a stream."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field

from contract.base import Request

OutputFormat = Literal["wav", "flac", "mp3", "opus", "m4a"]
FORMATS = get_args(OutputFormat)
BitDepth = Literal["16", "24", "32f"]


def _as_text(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


_SentBitDepth = Annotated[
    BitDepth, BeforeValidator(_as_text, json_schema_input_type=Literal[16, 24, "16", "24", "32f"])
]


class DeliveryFields(Request):
    """The file that a track is delivered as."""

    output_format: OutputFormat = "wav"
    bit_depth: _SentBitDepth | None = None
    loudness: float | None = Field(None, ge=-36, le=-6)
    loop: bool = False
    stream: bool = False
