"""Webhooks: the list of deliveries, and the secret that signs them."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from contract.base import Answer

WebhookState = Literal["pending", "delivered", "failed"]


class WebhookAttempt(Answer):
    """A try to deliver a message: the status that was answered, and what went wrong; null where nothing did."""

    at: datetime
    status: int | None
    error: str | None


class WebhookDelivery(Answer):
    """A message. `id` is the header `webhook-id` of each try; `next_attempt_at` is null when there is none."""

    id: str
    type: str
    url: str
    state: WebhookState
    created_at: datetime
    next_attempt_at: datetime | None
    attempts: list[WebhookAttempt]


class WebhooksAnswer(Answer):
    """`GET /webhooks`: the caller's secret, which verifies the messages, and the latest 100, the newest first."""

    secret: str
    deliveries: list[WebhookDelivery]
