"""The exception whose message reaches the client."""

from __future__ import annotations


class Refusal(Exception):
    """A request that cannot be served.

    Attributes:
        status: the HTTP status.
        message: one sentence that names the field and the remedy: `duration_seconds: 700 is over the 600 s that
            ace_step can make; ask for less`.
        wait: whole seconds after which to try again, for `Retry-After`; None if that is not known.
    """

    def __init__(self, status: int, message: str, wait: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.wait = wait

    def __reduce__(self) -> tuple[type[Refusal], tuple[int, str, int | None]]:
        """Pickles with all attributes, so that it can be raised in another process."""
        return Refusal, (self.status, self.message, self.wait)
