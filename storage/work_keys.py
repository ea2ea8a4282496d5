"""The keys of work that outlives its request: submitted tracks, webhooks, answers kept for repeated requests."""

from __future__ import annotations

from datetime import datetime

from storage import keys


# Tracks that were submitted (generation.submission).
def submissions() -> str:
    return "submitted_tracks/"


def submission(track_id: str) -> str:
    """The record of a submitted track, until the track is made."""
    return f"{submissions()}{_flat(track_id)}.json"


def submitted_recordings(account: str | None = None) -> str:
    """The folder of the recordings that came with submitted tracks: of an account, or of all."""
    return f"submitted_recordings/{account}/" if account else "submitted_recordings/"


def submitted_recording(account: str, track_id: str, field: str = "") -> str:
    """A recording that came with a submitted track, until the track has ended; without its field the prefix of all."""
    return f"{submitted_recordings(account)}{_flat(track_id)}~{field}"


def producer_of_submission(key: str) -> str | None:
    """The producer that a record's, mark's or recording's track will belong to; None: the base model's or a user's."""
    _, kind, *owner = [*key.rpartition("/")[2].removesuffix(".json").split("~"), ""]
    return owner[0] if kind == "twins" else None


def open_submissions(account: str | None = None) -> str:
    """The folder of the marks of tracks that are not made yet: of an account, or of all."""
    return f"open_submissions/{account}/" if account else "open_submissions/"


def open_submission(account: str, track_id: str) -> str:
    """Exists until the track is made, and contains the process that makes it and how often it was taken up."""
    return f"{open_submissions(account)}{_flat(track_id)}"


def submitted_track(mark: str) -> str:
    """The id of the track of a mark in `open_submissions`."""
    name, *place = mark.rpartition("/")[2].split("~")
    return ":".join([*place, name])


def _flat(track_id: str) -> str:
    """A track's id as one part of a key. It starts with the track's name, so that the newest comes first."""
    *place, name = track_id.split(":")
    return "~".join([name, *place])


# Processes that work on what others would take over (storage.process_lease).
def process_leases() -> str:
    return "process_leases/"


def process_lease(process: str) -> str:
    return f"{process_leases()}{process}.json"


# Webhooks (storage.webhooks).
def webhook_secret(account: str) -> str:
    return f"webhook_secrets/{account}.json"


def webhook_deliveries(account: str | None = None) -> str:
    """The folder of the deliveries of an account, the newest first, or of all."""
    return f"webhook_deliveries/{account}/" if account else "webhook_deliveries/"


def webhook_delivery(account: str, message_id: str, created_at: datetime) -> str:
    return f"{webhook_deliveries(account)}{keys.newest_first(created_at)}-{message_id}.json"


def due_webhooks() -> str:
    """The folder of the marks of deliveries that are not done, in the order of their next tries."""
    return "due_webhooks/"


def due_webhook(delivery: str, due_at: datetime) -> str:
    """The mark of a delivery, by its key and the time of its next try."""
    account, name = delivery.split("/")[1:]
    return f"{due_webhooks()}{_milliseconds(due_at):013d}~{account}~{name}"


def is_due_webhook(mark: str) -> bool:
    """Whether the key has the form of a mark: another program may have written it."""
    time, *rest = mark.removeprefix(due_webhooks()).split("~")
    return len(rest) == 2 and time.isascii() and time.isdecimal()


def time_of_due_webhook(mark: str) -> int:
    """The time of the try, in milliseconds since 1970."""
    return int(mark.removeprefix(due_webhooks()).partition("~")[0])


def delivery_of_due_webhook(mark: str) -> str:
    """The key of the delivery."""
    _, account, name = mark.removeprefix(due_webhooks()).split("~")
    return f"{webhook_deliveries(account)}{name}"


def _milliseconds(time: datetime) -> int:
    return int(time.timestamp() * 1000)


# Answers of requests that were sent with an Idempotency-Key (api.middleware.idempotency).
def idempotent_answers() -> str:
    return "idempotent_answers/"


def idempotent_answer(digest: str) -> str:
    return f"{idempotent_answers()}{digest}.json"
