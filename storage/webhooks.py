"""The deliveries of webhooks in storage: the message, its receiver, the time of the next try, and the tries so far.

Every delivery that is not done has a mark, whose key has the time of its next try: the first marks of the folder are
due. A process claims a delivery by moving that time ahead before it sends. If it is killed, the delivery is due again
then, with the same id: it is sent at least once.
"""

from __future__ import annotations

import base64
import json
import secrets
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from pydantic import AwareDatetime, BaseModel

from contract import WebhookAttempt, WebhookState
from core.errors import Refusal
from storage import records, work_keys
from storage.base import AlreadyExists, Changed, Damaged, NotFound, Storage

# Seconds from each try that failed to the next; all of them are a day.
RETRY_AFTER = (5, 30, 120, 600, 1_800, 3_600, 7_200, 14_400, 28_800, 29_845)
# Longer than a try takes. A try that has not ended by then is made again.
CLAIM = timedelta(seconds=60)
# Deliveries are listed for this time.
KEPT = timedelta(days=7)
# Marks of one account that `due` returns: a caller with many deliveries does not keep those of others from the list.
MAX_DUE_EACH = 100
_MARKS_OF_A_PAGE, _MAX_PAGES = 1_000, 20
MAX_LISTED = 100
# Messages of one account that are not delivered yet; requests with a `webhook_url` wait beyond it.
MAX_PENDING_EACH = 1_000
_FULL_RETRY_SECONDS = 60
# A younger mark that does not fit its delivery may be one that another process is about to write the delivery for.
_STALE_MARK_AGE = timedelta(minutes=1)
_SECRET_PREFIX = "whsec_"  # nosec B105 - of the Standard Webhooks scheme
_SECRET_BYTES = 32


class Delivery(BaseModel):
    """A message to a client.

    Attributes:
        id: the same in every try (`webhook-id`).
        account: the principal's; see `Principal.account`.
        body: the message as it is sent.
        due_at: the time of the next try; None when there is none.
        attempts: the tries that have ended.
        tries: the tries that were begun.
    """

    id: str
    account: str
    type: str
    url: str
    body: str
    state: WebhookState = "pending"
    created_at: AwareDatetime
    due_at: AwareDatetime | None = None
    attempts: list[WebhookAttempt] = []
    tries: int = 0

    @property
    def stored_at(self) -> str:
        """The delivery's key."""
        return work_keys.webhook_delivery(self.account, self.id, self.created_at)

    @property
    def mark(self) -> str | None:
        """The key of its mark."""
        return None if self.due_at is None else work_keys.due_webhook(self.stored_at, self.due_at)

    def encode(self) -> bytes:
        return self.model_dump_json(indent=1).encode()


class Deliveries:
    """The deliveries in storage."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def add(self, account: str, url: str, type: str, subject: str, data: BaseModel, at: datetime) -> None:
        """Store a message. It may be repeated with the same arguments, and is one delivery then.

        Args:
            type: of the event, such as `track.done`.
            subject: names what the event happened to; an event of a type happens to it once.
            at: when it happened.
        """
        digest = sha256(f"{type}\n{subject}".encode()).hexdigest()
        message = {"type": type, "timestamp": at.isoformat(), "data": data.model_dump(mode="json")}
        delivery = Delivery(
            id=f"msg_{digest[:32]}",
            account=account,
            type=type,
            url=url,
            body=json.dumps(message),
            created_at=at,
            due_at=at,
        )
        assert delivery.mark
        with suppress(AlreadyExists):
            self._storage.put(delivery.stored_at, delivery.encode(), if_absent=True)
        # Last: a dispatcher deletes an old mark that has no delivery. A mark that is missing is written by the repeat.
        self._storage.put(delivery.mark, b"")

    def check_room(self, account: str) -> None:
        """Raises Refusal (429): too many messages of the account are not delivered yet."""
        pending = sum(self.account_of(mark) == account for mark in self._marks())
        if pending >= MAX_PENDING_EACH:
            raise Refusal(
                429,
                f"webhook_url: {MAX_PENDING_EACH} messages to you are not delivered yet; mend the receiver "
                "(GET /webhooks lists why), or leave webhook_url out",
                _FULL_RETRY_SECONDS,
            )

    def due(self, now: datetime) -> list[str]:
        """The marks of the deliveries that are due, in their order: of each account the first `MAX_DUE_EACH`."""
        found: list[str] = []
        counts: Counter[str] = Counter()
        for mark in self._marks():
            if _milliseconds_since(mark, now) < 0:
                break
            account = self.account_of(mark)
            counts[account] += 1
            if counts[account] <= MAX_DUE_EACH:
                found.append(mark)
        return found

    def account_of(self, mark: str) -> str:
        """The account of a mark's delivery."""
        return work_keys.delivery_of_due_webhook(mark).split("/")[1]

    def claim(self, mark: str, now: datetime) -> Delivery | None:
        """Begin a try. None if another process was first, or the delivery is not due any more."""
        try:
            delivery, etag = self._read(work_keys.delivery_of_due_webhook(mark))
        except (NotFound, Damaged):
            self._delete_if_stale(mark, now)
            return None
        if delivery.mark != mark:  # a process ended between writing the delivery and deleting this mark
            self._delete_if_stale(mark, now)
            return None
        claimed = delivery.model_copy(update={"due_at": now + CLAIM, "tries": delivery.tries + 1})
        return claimed if self._change(delivery, claimed, etag) else None

    def end_try(self, claimed: Delivery, attempt: WebhookAttempt, is_final: bool) -> Delivery:
        """Store the outcome of a try, and the time of the next one.

        Args:
            claimed: as `claim` returned it.
            is_final: after an error, whether further tries are in vain.
        """
        state, due_at = claimed.state, None
        if attempt.error is None:
            state = "delivered"
        elif is_final or claimed.tries > len(RETRY_AFTER):
            state = "failed"
        else:
            due_at = attempt.at + timedelta(seconds=RETRY_AFTER[claimed.tries - 1])
        changes = {"state": state, "due_at": due_at, "attempts": [*claimed.attempts, attempt]}
        ended = claimed.model_copy(update=changes)
        with suppress(NotFound, Damaged):
            current, etag = self._read(claimed.stored_at)
            # Another process has claimed it since if this one took longer than a claim lasts.
            if current.mark == claimed.mark:
                self._change(claimed, ended, etag)
        return ended

    def of_account(self, account: str) -> Iterator[Delivery]:
        """The latest deliveries, the newest first."""
        entries = self._storage.list(work_keys.webhook_deliveries(account), limit=MAX_LISTED)
        for _, delivery in records.read_all(self._storage, entries, _parse):
            yield delivery

    def secret(self, account: str) -> str:
        """The secret with which the account's messages are signed. It is made when it is first asked for."""
        key = work_keys.webhook_secret(account)
        for _ in range(2):
            with suppress(NotFound):
                return records.read(self._storage, key, _parse_secret)[0]
            secret = _SECRET_PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()
            with suppress(AlreadyExists):
                self._storage.put(key, json.dumps({"secret": secret}).encode(), if_absent=True)
                return secret
        raise Damaged(key)

    def _marks(self) -> Iterator[str]:
        after = ""
        for _ in range(_MAX_PAGES):
            page = [entry.key for entry in self._storage.list(work_keys.due_webhooks(), after, _MARKS_OF_A_PAGE)]
            yield from filter(work_keys.is_due_webhook, page)
            if len(page) < _MARKS_OF_A_PAGE:
                return
            after = page[-1]

    def _delete_if_stale(self, mark: str, now: datetime) -> None:
        if _milliseconds_since(mark, now) >= _STALE_MARK_AGE.total_seconds() * 1000:
            self._storage.delete(mark)

    def _change(self, before: Delivery, after: Delivery, etag: str) -> bool:
        """Write a delivery, with its mark before it. False if another process has written it meanwhile."""
        if after.mark:
            self._storage.put(after.mark, b"")
        try:
            self._storage.put(after.stored_at, after.encode(), if_match=etag)
        except Changed:
            if after.mark:
                self._storage.delete(after.mark)
            return False
        if before.mark:
            self._storage.delete(before.mark)
        return True

    def _read(self, key: str) -> tuple[Delivery, str]:
        return records.read(self._storage, key, _parse)


def clean(storage: Storage) -> int:
    """Delete deliveries that are no longer listed. Returns how many."""
    oldest = datetime.now(UTC) - KEPT
    entries = storage.list(work_keys.webhook_deliveries())
    return sum(storage.delete(entry.key) for entry in entries if entry.modified < oldest)


def _milliseconds_since(mark: str, now: datetime) -> float:
    return now.timestamp() * 1000 - work_keys.time_of_due_webhook(mark)


def _parse(data: bytes, key: str) -> Delivery:
    delivery = Delivery.model_validate_json(data)
    if delivery.stored_at != key:
        raise ValueError("it is another delivery than its name says")
    return delivery


def _parse_secret(data: bytes, key: str) -> str:
    return str(json.loads(data)["secret"])
