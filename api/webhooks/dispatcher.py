"""Delivers webhooks that are due. Every front process has a dispatcher; each try is claimed by one of them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from api.webhooks import signature
from api.webhooks.sender import send
from contract import WebhookAttempt
from core.gate import Gate
from core.principal import Principal, acting
from preprocessing.public_network import AddressCheck, is_public
from storage import Storage, Unavailable
from storage.webhooks import Deliveries, Delivery

log = logging.getLogger("producer_twin.front")

POLL_SECONDS = 2.0
# While nothing is due, the pause doubles up to this.
IDLE_POLL_SECONDS = 10.0
# Receivers that do not answer hold a slot each, and may not hold those of other accounts.
AT_ONCE = 16
AT_ONCE_EACH = 4  # of one key


def _now() -> datetime:
    return datetime.now(UTC)


class Dispatcher:
    """Sends the messages that are due.

    Args:
        clock: the current time.
        is_allowed: which addresses may be connected to.
    """

    def __init__(
        self, storage: Storage, clock: Callable[[], datetime] = _now, is_allowed: AddressCheck = is_public
    ) -> None:
        self.deliveries = Deliveries(storage)
        self._clock = clock
        self._is_allowed = is_allowed
        self._gate = Gate(AT_ONCE, AT_ONCE_EACH)
        self._threads = ThreadPoolExecutor(AT_ONCE, "webhooks")
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._watch: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Deliver from now on. To be called in the event loop."""
        self._watch = asyncio.create_task(self._keep_delivering())

    async def stop(self) -> None:
        """Deliver no more. Tries under way are made again by other processes."""
        tasks = [*self._under_way.values(), *([self._watch] if self._watch else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def deliver_due(self) -> None:
        """Try each delivery that is due once, and wait for the ends of these tries."""
        await self._start_due()
        while self._under_way:
            await asyncio.wait(list(self._under_way.values()))

    async def _keep_delivering(self) -> None:
        pause = POLL_SECONDS
        while True:
            try:
                pause = POLL_SECONDS if await self._start_due() else min(2 * pause, IDLE_POLL_SECONDS)
            except Unavailable as error:
                log.warning("webhooks wait: %s", error.message)
            except Exception:
                log.exception("webhooks wait")
            await asyncio.sleep(pause)

    async def _start_due(self) -> bool:
        """Start a try of each delivery that is due. Returns whether there is one."""
        due = await asyncio.to_thread(self.deliveries.due, self._clock())
        for mark in due:
            if mark not in self._under_way:
                task = self._under_way[mark] = asyncio.create_task(self._try(mark))
                task.add_done_callback(lambda _, mark=mark: self._under_way.pop(mark, None))  # type: ignore[misc]
        return bool(due)

    async def _try(self, mark: str) -> None:
        account = self.deliveries.account_of(mark)
        try:
            with acting(Principal(f"webhooks of {account}")):
                async with self._gate.slot():
                    delivery = await asyncio.to_thread(self.deliveries.claim, mark, self._clock())
                    if delivery:
                        await asyncio.get_running_loop().run_in_executor(self._threads, self._send, delivery)
        except Unavailable as error:
            log.warning("a webhook waits: %s", error.message)
        except Exception:
            log.exception("a webhook waits")

    def _send(self, delivery: Delivery) -> None:
        body, now = delivery.body.encode(), self._clock()
        secret = self.deliveries.secret(delivery.account)
        headers = signature.headers(secret, delivery.id, int(now.timestamp()), body)
        outcome = send(delivery.url, headers, body, self._is_allowed)
        attempt = WebhookAttempt(at=now, status=outcome.status, error=outcome.error)
        ended = self.deliveries.end_try(delivery, attempt, outcome.is_final)
        if ended.state == "failed":
            log.warning("webhook %s is given up: %s", delivery.id, outcome.error)
