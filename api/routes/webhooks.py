"""The caller's webhooks: the secret that signs them, and the list of deliveries."""

from __future__ import annotations

from api.capacity.thread_pools import to_record_thread
from api.routes.handler import Front, Inputs
from api.routes.route import ANY_SCOPE, Route
from contract import WebhookDelivery, WebhooksAnswer
from core import principal
from core.errors import Refusal
from storage.webhooks import Deliveries


async def list_own(front: Front, inputs: Inputs[None]) -> WebhooksAnswer:
    who = principal.current()
    if who.is_anonymous:
        raise Refusal(403, "authorization: webhooks are those of an API key or a user; send a key, or sign in")
    return await to_record_thread(_collect, Deliveries(front.storage), who.account)


def _collect(deliveries: Deliveries, account: str) -> WebhooksAnswer:
    found = [
        WebhookDelivery(
            id=each.id,
            type=each.type,
            url=each.url,
            state=each.state,
            created_at=each.created_at,
            next_attempt_at=each.due_at,
            attempts=each.attempts,
        )
        for each in deliveries.of_account(account)
    ]
    return WebhooksAnswer(secret=deliveries.secret(account), deliveries=found)


ROUTES = (
    Route(
        "GET",
        "/webhooks",
        "operators",
        "The caller's webhooks: the secret that signs them, and the latest deliveries",
        ANY_SCOPE,
        list_own,
        answer=(WebhooksAnswer,),
        answer_example={
            "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo=",
            "deliveries": [
                {
                    "id": "msg_5b1c0c6f8b7e4d2fa0c1d2e3f4a5b6c7",
                    "type": "track.done",
                    "url": "https://studio.example/api/hooks/twin",
                    "state": "delivered",
                    "created_at": "2026-11-24T19:00:41Z",
                    "next_attempt_at": None,
                    "attempts": [{"at": "2026-11-24T19:00:42Z", "status": 204, "error": None}],
                }
            ],
        },
        errors=(403,),
    ),
)
