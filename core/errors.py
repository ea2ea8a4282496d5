"""The one exception that reaches a client as it is."""

from __future__ import annotations


class Refusal(Exception):
    """A request that cannot be served, with the HTTP status and the sentence that the client reads.

    The message names the field (or the thing) and the mend: `duration_seconds: 700 is over the 600 s that
    ace_step can make; ask for less.`

    `wait`: whole seconds after which it is worth trying again, where that is known.
    """

    def __init__(self, status: int, message: str, wait: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.wait = wait

    def __reduce__(self) -> tuple[type[Refusal], tuple[int, str, int | None]]:
        """Whole, where it is raised in another process."""
        return Refusal, (self.status, self.message, self.wait)
