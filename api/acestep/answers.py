"""The answers of ACE-Step's API."""

from __future__ import annotations

import json
import time
from typing import Any
from urllib.parse import quote

from starlette.responses import JSONResponse

from api.acestep.tasks import TaskRecord

_STATUS = {"queued": 0, "succeeded": 1, "failed": 2}
_FAILED = 2


def wrapped(data: Any, extra: Any = None) -> JSONResponse:
    """An answer in ACE-Step's wrapper."""
    document = {"data": data, "code": 200, "error": None, "timestamp": int(time.time() * 1000), "extra": extra}
    return JSONResponse(document)


def task_answer(task_id: str, record: TaskRecord | None) -> dict[str, Any]:
    """A row of `/query_result`; its `result` is JSON in a string. An unknown task counts as failed."""
    if record is None:
        unknown = {"file": "", "wave": "", "status": _FAILED, "error": "there is no such task; it may be too old"}
        return {"task_id": task_id, "status": _FAILED, "result": json.dumps([unknown])}
    status = _STATUS[record.state]
    common = _common(record) | {"status": status}
    if record.state == "succeeded":
        rows = [
            common | {"file": _url(track.path), "wave": "", "metas": _metas(record, track.seconds)}
            for track in record.tracks
        ]
    else:
        rows = [common | {"file": "", "wave": "", "metas": _metas(record, record.request.get("duration_seconds"))}]
        if record.error:
            rows[0]["error"] = record.error
    return {"task_id": task_id, "status": status, "result": json.dumps(rows, ensure_ascii=False)}


def _url(path: str) -> str:
    """The URL of a track below the base of the client's URLs."""
    return f"/v1/audio?path={quote(path, safe='')}"


def _common(record: TaskRecord) -> dict[str, Any]:
    made = sum(track.seconds for track in record.tracks)
    return {
        "create_time": int(record.created_at.timestamp()),
        "env": "production",
        "prompt": record.request["prompt"],
        "lyrics": record.request.get("lyrics", ""),
        "generation_info": f"{len(record.tracks)} tracks, {made:.1f} s, by {record.model}" if record.tracks else "",
        "seed_value": ",".join(str(track.seed) for track in record.tracks),
        "lm_model": "",
        "dit_model": record.model,
    }


def _metas(record: TaskRecord, seconds: float | None) -> dict[str, Any]:
    return {
        "bpm": record.request.get("bpm"),
        "duration": seconds,
        "genres": "",
        "keyscale": record.request.get("key") or "",
        "timesignature": record.request.get("time_signature") or "",
    }
