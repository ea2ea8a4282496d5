"""The checks of a `webhook_url` before work begins."""

from __future__ import annotations

from core import principal
from core.errors import Refusal
from preprocessing.fetch import check_url, parse_url, redacted

FIELD = "webhook_url"
_ANONYMOUS = "messages are signed with the secret of an API key or a user; send a key, or sign in"


def check_webhook_url(url: str | None) -> None:
    """Check that the principal may be sent webhooks, and that the URL is https and not that of a private address.

    Raises:
        Refusal: 400.
    """
    if url is None:
        return
    if principal.current().is_anonymous:
        raise Refusal(400, f"{FIELD}: {_ANONYMOUS}")
    check_url(url, FIELD)
    if parse_url(url, FIELD).scheme != "https":
        raise Refusal(400, f"{FIELD}: {redacted(url)}: webhooks are sent by https only")
