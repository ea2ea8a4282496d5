"""Answers that are errors, or of something else than the service."""

from __future__ import annotations

import httpx

from producer_twin._connection import shown
from producer_twin.errors import ApiError, ProducerTwinError


def error_of(answer: httpx.Response, retry_after: float | None) -> ApiError:
    """The exception for an error answer whose body has been read."""
    message = sentence_of(answer) or _of_another_server(answer)
    return ApiError(answer.status_code, message, retry_after, answer.headers.get("x-request-id"))


def not_understood(answer: httpx.Response) -> ProducerTwinError | None:
    """The exception for an answer that is a page in place of a document; None if it is none."""
    return ProducerTwinError(_of_another_server(answer)) if _is_page(answer) else None


def _of_another_server(answer: httpx.Response) -> str:
    """The error for an answer of a proxy, or of a server that is not this service."""
    if _is_page(answer):
        return f"{shown(answer.url)} answers with a page; is that the URL of a Producer Twin service?"
    return answer.text.strip()[:500] or answer.reason_phrase


def _is_page(answer: httpx.Response) -> bool:
    return answer.headers.get("content-type", "").startswith("text/html")


def sentence_of(answer: httpx.Response) -> str | None:
    """The service's sentence in an error answer whose body has been read; None if a proxy in between answered."""
    try:
        return str(answer.json()["error"])
    except (ValueError, KeyError, TypeError):
        return None
