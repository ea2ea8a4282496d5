"""Limits of one request: the music of all its takes, and an answer that holds a track as base64."""

from __future__ import annotations

from contract import MAX_AUDIO_BASE64, MAX_TAKES_SECONDS, GenerateRequest
from core.errors import Refusal
from generation import encode
from generation.prepared import Prepared


def check_takes(request: GenerateRequest, seconds: float) -> None:
    """Refuse (400) takes that are too long together."""
    if request.drawn_at_once * seconds > MAX_TAKES_SECONDS:
        field = "best_of" if request.best_of else "takes"
        raise Refusal(
            400,
            f"{field}: {request.drawn_at_once} takes of {seconds:g} s are over {MAX_TAKES_SECONDS:g} s in all; "
            "ask for fewer or shorter ones",
        )


def check_base64(prepared: Prepared) -> None:
    """Refuse (413) a track that cannot fit into a JSON answer before minutes are spent on it."""
    state, delivery = prepared.state, prepared.delivery
    if prepared.request.output_format != "wav" or not (state.sample_rate and state.channels):
        return
    rate, channels = state.sample_rate, state.channels
    if (edit := delivery.edit) and edit.keeps_outside:
        rate, channels = edit.source.sample_rate, edit.source.samples.shape[1]
    bytes_per_second = rate * channels * encode.SAMPLE_BYTES[delivery.sample_format]
    if prepared.seconds * bytes_per_second * 4 / 3 > MAX_AUDIO_BASE64:
        raise _too_large(prepared.request, prepared.seconds)


def check_file_base64(request: GenerateRequest, file: bytes, seconds: float) -> None:
    """Refuse (413) a file that does not fit into a JSON answer."""
    if len(file) * 4 / 3 > MAX_AUDIO_BASE64:
        raise _too_large(request, seconds)


def _too_large(request: GenerateRequest, seconds: float) -> Refusal:
    field = "duration_seconds" if request.task == "text" else "source"
    return Refusal(
        413,
        f"{field}: {seconds:g} s are over {MAX_AUDIO_BASE64 // 2**20} MB as base64; ask for a link "
        'with response: "url", for the bytes with the header Accept: audio/wav, or for less',
    )
