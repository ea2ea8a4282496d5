"""When a request is sent again, and after which time."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

from producer_twin._answers import sentence_of

# The service did nothing.
_REFUSED_STATUSES = frozenset({429, 503})
# The connection was not made, so that the service did not see the request.
_UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


@dataclass(frozen=True)
class Retry:
    """How often and how long the client tries again.

    Attributes:
        attempts: how often a request is sent at most. Asking again for the answer to an attempt that is still under
            way does not count; with 1 that is not done either.
        base_seconds: the first pause where the service names none; each further one is twice as long, up to
            `max_seconds`, and up to half of it is random.
        max_seconds: the longest pause. If the service asks for a longer one, its error is raised at once.
    """

    attempts: int = 4
    base_seconds: float = 0.5
    max_seconds: float = 60.0

    def pause_after_error(self, attempt: int, error: httpx.TransportError, repeatable: bool) -> float | None:
        """The seconds until the next attempt; None if there is none.

        Args:
            attempt: 1 for the first.
            repeatable: whether the request may reach the service twice.
        """
        if attempt >= self.attempts or not (repeatable or isinstance(error, _UNSENT)):
            return None
        return self._backoff(attempt)

    def pause_after_answer(self, attempt: int, answer: httpx.Response, repeatable: bool) -> float | None:
        """The seconds until the next attempt; None if there is none. `repeatable` is as above."""
        if is_under_way(answer):
            sent_again = self.attempts > 1
        else:
            may_help = answer.status_code in _REFUSED_STATUSES or (repeatable and _is_lost(answer))
            sent_again = attempt < self.attempts and may_help
        if not sent_again:
            return None
        wanted = retry_after(answer)
        if wanted is None:
            return self._backoff(attempt)
        return wanted if wanted <= self.max_seconds else None

    def _backoff(self, attempt: int) -> float:
        seconds = min(self.base_seconds * 2 ** (attempt - 1), self.max_seconds)
        return seconds * random.uniform(0.5, 1)  # nosec B311


def is_under_way(answer: httpx.Response) -> bool:
    """Whether an earlier attempt with the same idempotency key is not answered yet."""
    return answer.status_code == 409 and retry_after(answer) is not None


def _is_lost(answer: httpx.Response) -> bool:
    """Whether a proxy got no answer of the service, which may have done its work. A 504 of its own has a sentence."""
    return answer.status_code == 502 or (answer.status_code == 504 and sentence_of(answer) is None)


def retry_after(answer: httpx.Response) -> float | None:
    """The seconds of `Retry-After`, which is a number or a date."""
    value = answer.headers.get("retry-after", "").strip()
    if value.isdigit():
        return float(value)
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (date.replace(tzinfo=date.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
