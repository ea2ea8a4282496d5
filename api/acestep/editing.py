"""ACE-Step's tasks that start from a recording, as fields of `POST /generate`."""

from __future__ import annotations

import json
import re
from collections.abc import Set
from typing import Any
from urllib.parse import parse_qs, urlsplit

from api.acestep.fields import Fields
from contract import TASK_FIELDS, TRACK_NAMES, Task
from core.errors import Refusal
from core.text import shown

# The service's tasks by ACE-Step's names. ACE-Step has no task `extend`; it is this service's own.
_TASKS: dict[str, Task] = {
    "text2music": "text",
    "repaint": "repaint",
    "extend": "extend",
    "cover": "cover",
    "complete": "complete",
    "lego": "lego",
    "extract": "extract",
}
# ACE-Step's names of the fields, by the service's.
NAMES = {
    "task": "task_type",
    "source": "src_audio_path",
    "reference": "reference_audio_path",
    "start": "repainting_start",
    "end": "repainting_end",
    "before": "before",
    "after": "after",
    "strength": "audio_cover_strength",
    "noise_strength": "cover_noise_strength",
    "injected_share": "repaint_strength",
    "tracks": "track_classes",
}
# The share of the steps that are held to the source, by `repaint_mode`; in `balanced`, `repaint_strength` decides.
_INJECTED_SHARES = {"conservative": 1.0, "aggressive": 0.0}
# The names of tracks in a text. Of two that fit, the longer one.
_NAMED = re.compile(
    rf"\b({'|'.join(sorted(TRACK_NAMES, key=len, reverse=True)).replace('_', '[ _]')})\b", re.IGNORECASE
)
_AUDIO_ROUTE = "/v1/audio"


def read_editing_fields(fields: Fields, files: Set[str], ignored: dict[str, str]) -> dict[str, Any]:
    """The task and its fields, by the service's names.

    Args:
        files: which of `source` and `reference` came as files.
        ignored: is given the fields that the task does not have.

    Raises:
        Refusal: 400, which names ACE-Step's field.
    """
    name = str(fields.get("task_type") or "text2music")
    task = _TASKS.get(name)
    if task is None:
        raise Refusal(400, f"task_type: {shown(name)} is not served; use one of {', '.join(_TASKS)}")
    sent = {
        "source": _path(fields.get("src_audio_path")),
        "reference": _path(fields.get("reference_audio_path")),
        "start": fields.get("repainting_start"),
        "end": _end(fields.get("repainting_end")),
        "before": fields.get("before"),
        "after": fields.get("after"),
        "strength": fields.get("audio_cover_strength"),
        "noise_strength": fields.get("cover_noise_strength"),
        "injected_share": _injected_share(fields),
        "tracks": _tracks(fields, is_instruction_read="tracks" in TASK_FIELDS[task]),
    }
    for file in files:
        if sent[file] is not None:
            ignored[NAMES[file]] = "the file that was sent is used"
            sent[file] = None
    _check_source(name, task, sent["source"] is not None or "source" in files)
    if fields.get("instruction") is not None and "tracks" not in TASK_FIELDS[task]:
        ignored["instruction"] = "it follows from task_type"
    wanted: dict[str, Any] = {"task": task}
    for field, value in sent.items():
        if value is None:
            continue
        if field == "reference" or field in TASK_FIELDS[task]:
            wanted[field] = value
        else:
            ignored[NAMES[field]] = f"{name} does not use it"
    if task == "repaint" and not wanted.keys() & {"start", "end"}:
        wanted["start"] = 0.0
    return wanted


def _check_source(name: str, task: Task, is_sent: bool) -> None:
    if task == "text" and is_sent:
        raise Refusal(400, f"src_audio_path: {name} starts from no recording; leave it out, or send task_type: repaint")
    if task != "text" and not is_sent:
        raise Refusal(400, f"src_audio_path: {name} needs a recording; send its path, or the file as src_audio")


def _path(value: Any) -> Any:
    """A recording's path. The URL of a track is taken for the path in it."""
    try:
        url = urlsplit(value) if isinstance(value, str) else None
    except ValueError:  # such as http://[; the request's model says what is wrong
        return value
    return parse_qs(url.query).get("path", [value])[0] if url and url.path.endswith(_AUDIO_ROUTE) else value


def _end(value: Any) -> Any:
    """ACE-Step's clients send -1 for the end of the source."""
    try:
        return None if value is None or float(value) < 0 else value
    except (TypeError, ValueError, OverflowError):
        return value  # the request's model says what is wrong


def _injected_share(fields: Fields) -> Any:
    mode, strength = fields.get("repaint_mode"), fields.get("repaint_strength")
    if mode in _INJECTED_SHARES:
        return _INJECTED_SHARES[mode]
    if mode not in (None, "balanced"):
        raise Refusal(400, f"repaint_mode: {shown(str(mode))} is none of conservative, balanced, aggressive")
    try:
        return None if strength is None else 1 - float(strength)
    except (TypeError, ValueError, OverflowError):
        raise Refusal(400, f"repaint_strength: {shown(str(strength))} is not a number from 0 to 1") from None


def _tracks(fields: Fields, is_instruction_read: bool) -> list[str] | None:
    """The names of tracks, in capitals or not; those in the instruction where no field has any."""
    several, one, instruction = (fields.get(name) for name in ("track_classes", "track_name", "instruction"))
    if isinstance(several, str):
        several = _listed(several)
    names = several if several is not None else [one] if one is not None else None
    if names is None and is_instruction_read and instruction is not None:
        names = list(dict.fromkeys(_NAMED.findall(str(instruction)))) or None
    if names is None:
        return None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise Refusal(400, "track_classes: send the names of tracks as a list")
    return [name.strip().lower().replace(" ", "_") for name in names]


def _listed(text: str) -> Any:
    """The names in a JSON list, or between commas or bars."""
    if not text.lstrip().startswith("["):
        return re.split(r"[,|]", text)
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise Refusal(400, "track_classes: it is not valid JSON") from None
