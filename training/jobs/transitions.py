"""The states of a job: which event leads from which phase to which state, and which fields each event sets."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, auto
from typing import Any, Literal, get_args

from contract import State
from core.errors import Refusal
from training.jobs.desertion import is_stale
from training.jobs.record import JobRecord

# name_task  a BentoML task waits for the job
# update     the job's process reports progress, or only its heartbeat
# claim      a supervisor starts work on the job
# finish     the job's process is done
# stop       the job's process has stopped, because the job was cancelled
# fail       the job's process or its supervisor reports an error
# desert     a reader presumes that the job's process has died
# cancel     a client asks for the job's end
# resume     a client asks for another attempt
Event = Literal["name_task", "update", "claim", "finish", "stop", "fail", "desert", "cancel", "resume"]

# working     preparing, tagging, training or evaluating
# cancelling  the same, and cancellation was requested
# deserted    the job was failed by `desert`, and the caller is the process that proves it wrong
# superseded  the caller works on an attempt that is not the job's latest
Phase = Literal["queued", "working", "cancelling", "done", "failed", "deserted", "cancelled", "superseded"]


class JobEnded(Exception):
    """The job has ended, or another attempt has taken it over: the caller must stop working on it."""


class Rule(Enum):
    """The outcome of an event that does not lead to a named state."""

    KEEP = auto()  # the state stays, the event's fields are set
    REVIVE = auto()  # back to the state in which the job was presumed deserted
    IGNORE = auto()  # nothing changes
    ENDED = auto()  # the caller gets `JobEnded`


@dataclass(frozen=True)
class Refused:
    """The event is answered with 409 and this reason."""

    reason: str


KEEP, REVIVE, IGNORE, ENDED = Rule
NOT_OPEN = Refused("is {state}; only a job under way can be cancelled")
IS_DONE = Refused("is done; there is nothing to resume")
ENDING = Refused("is being cancelled; resume it when it is")

# fmt: off
_TABLE: dict[Event, tuple[State | Rule | Refused, ...]] = {
    #             queued       working      cancelling   done      failed    deserted     cancelled    superseded
    "name_task": (KEEP,        KEEP,        KEEP,        KEEP,     KEEP,     KEEP,        KEEP,        KEEP),
    "update":    (KEEP,        KEEP,        KEEP,        ENDED,    ENDED,    REVIVE,      ENDED,       ENDED),
    "claim":     ("preparing", ENDED,       ENDED,       ENDED,    ENDED,    ENDED,       ENDED,       ENDED),
    "finish":    ("done",      "done",      "done",      ENDED,    ENDED,    "done",      ENDED,       ENDED),
    "stop":      ("cancelled", "cancelled", "cancelled", ENDED,    ENDED,    "cancelled", ENDED,       ENDED),
    "fail":      ("failed",    "failed",    "cancelled", IGNORE,   IGNORE,   IGNORE,      IGNORE,      IGNORE),
    "desert":    ("failed",    "failed",    "cancelled", IGNORE,   IGNORE,   IGNORE,      IGNORE,      IGNORE),
    "cancel":    ("cancelled", KEEP,        IGNORE,      NOT_OPEN, NOT_OPEN, NOT_OPEN,    IGNORE,      IGNORE),
    "resume":    (IGNORE,      IGNORE,      ENDING,      IS_DONE,  "queued", "queued",    "queued",    IGNORE),
}
# fmt: on
_OUTCOMES = {event: dict(zip(get_args(Phase), row, strict=True)) for event, row in _TABLE.items()}


def apply(record: JobRecord, event: Event, attempt: int | None = None, **fields: Any) -> dict[str, Any]:
    """The fields of the record that the event changes, empty if it changes none.

    Args:
        attempt: the one that the caller works on; None for a caller that works on none.
        fields: what the caller sets in addition.

    Raises:
        JobEnded: the caller must stop working on the job.
        Refusal: 409, the event is not possible in this state.
    """
    phase = _phase(record, attempt)
    outcome = _OUTCOMES[event][phase]
    if isinstance(outcome, Refused):
        raise Refusal(409, f"job_id: {record.job_id} {outcome.reason.format(state=record.state)}")
    if outcome is ENDED:
        raise JobEnded(record.job_id)
    if outcome is IGNORE or (event == "desert" and not is_stale(record)):
        return {}
    changes: dict[str, Any] = {}
    if isinstance(outcome, str):
        changes["state"] = outcome
    if phase == "deserted":
        changes = {"state": record.deserted_in} | changes | {"deserted_in": None, "error": None, "error_status": None}
    return changes | _set_by(event, record) | fields


def _phase(record: JobRecord, attempt: int | None) -> Phase:
    if attempt not in (None, record.attempt):
        return "superseded"
    match record.state:
        case "queued" | "done" | "cancelled":
            return record.state
        case "failed":
            return "deserted" if record.deserted_in and attempt is not None else "failed"
        case _:
            return "cancelling" if record.cancelling else "working"


def _set_by(event: Event, record: JobRecord) -> dict[str, Any]:
    now = datetime.now(UTC)
    match event:
        case "update":
            return {"updated_at": now}
        case "claim":
            return {"updated_at": now, "started_at": record.started_at or now}
        case "finish":
            return {"updated_at": now, "seconds_left": 0.0}
        case "stop" | "fail":
            return {"updated_at": now, "seconds_left": None, "progress": None}
        case "desert":
            error = f"the process that worked on the job ended while it was {record.state}; resume it to go on"
            deserted_in = None if record.cancelling else record.state
            ended = {"error": error, "error_status": 500, "deserted_in": deserted_in}
            return ended | {"seconds_left": None, "progress": None}
        case "cancel":
            return {} if record.state == "queued" else {"cancelling": True}
        case "resume":
            cleared = dict.fromkeys(("error", "error_status", "result", "seconds_left", "deserted_in", "progress"))
            return cleared | {
                "attempt": record.attempt + 1,
                "cancelling": False,
                "queued_at": now,
                "updated_at": now,
            }
        case _:
            return {}
