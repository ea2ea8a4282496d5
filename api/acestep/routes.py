"""The routes of ACE-Step's API. Its clients are given `/acestep` as the base of their URLs."""

from __future__ import annotations

import io
import json
import secrets
from collections.abc import Mapping
from functools import partial
from typing import Any

from starlette.responses import Response

from api.acestep.answers import task_answer, wrapped
from api.acestep.chat import chat_completions
from api.acestep.fields import Body, Fields
from api.acestep.samples import SAMPLES
from api.acestep.served import served_models
from api.acestep.translation import translate
from api.capacity.thread_pools import to_record_thread
from api.routes import outputs
from api.routes.forms import on_disk
from api.routes.handler import Front, Inputs
from api.routes.route import ANY_SCOPE, GENERATE, Parameter, Route
from contract import GenerateRequest
from contract.validation import validated
from core import principal
from core.errors import Refusal
from storage import keys

_MAX_QUERIED = 100
# The files of a form, by the service's names of their fields.
_FILES = {"src_audio": "source", "ctx_audio": "source", "reference_audio": "reference", "ref_audio": "reference"}


async def release_task(front: Front, inputs: Inputs[Body]) -> Response:
    """Start to make a batch of tracks."""
    files, served = _files(inputs), await served_models(front)
    task = translate(inputs.body.root, served.names, files.keys())
    model = served.name_of(task.takes[0])
    task_id, place = await front.acestep_tasks.release(task.takes, model, front.generation, files)
    data = {"task_id": task_id, "status": "queued", "queue_position": place}
    return wrapped(data, {"ignored": task.ignored} if task.ignored else None)


async def query_result(front: Front, inputs: Inputs[Body]) -> Response:
    """The state of several tasks, and the URLs of their tracks."""
    ids = Fields(inputs.body.root).get("task_id_list")
    try:
        ids = json.loads(ids) if isinstance(ids, str) else ids
    except (ValueError, RecursionError):
        ids = None
    if not isinstance(ids, list) or not all(isinstance(each, str) for each in ids):
        raise Refusal(400, "task_id_list: send the ids of tasks as a list, or as the JSON of one")
    if len(ids) > _MAX_QUERIED:
        raise Refusal(400, f"task_id_list: it has {len(ids)} ids; send at most {_MAX_QUERIED} at once")
    return wrapped([task_answer(each, await front.acestep_tasks.find(each)) for each in ids])


async def audio(front: Front, inputs: Inputs[None]) -> Response:
    """A track, by the path in its result."""
    key = keys.from_path(inputs.query["path"])
    if not key.startswith("outputs/"):
        raise Refusal(404, "path: there is no such track")
    return await outputs.serve(key, front.storage, front.outbox, front.settings)


async def list_models(front: Front, inputs: Inputs[None]) -> Response:
    """The checkpoints that are served, and the twins of each as `checkpoint+producer:model`."""
    served = await served_models(front)
    rows = [{"name": name, "is_default": backend == served.default} for name, backend in served.backends.items()]
    by_backend = {backend: name for name, backend in served.backends.items()}
    stored = front.library.all(None)
    twins = await to_record_thread(lambda: [each.header for each in stored if principal.sees(each.header.producer_id)])
    rows += [
        {"name": f"{by_backend[twin.backend]}+{twin.lora_id}", "is_default": False}
        for twin in twins
        if twin.backend in by_backend
    ]
    return wrapped({"models": rows, "default_model": by_backend.get(served.default)})


async def stats(front: Front, inputs: Inputs[None]) -> Response:
    """The tasks of the process that answers, since it started."""
    return wrapped(front.acestep_tasks.statistics())


async def health(front: Front, inputs: Inputs[None]) -> Response:
    if reason := await front.runners.why_not_ready():
        raise Refusal(503, f"the service cannot serve: {reason}")
    return wrapped({"status": "ok", "service": "ACE-Step API", "version": "1.0"})


async def random_sample(front: Front, inputs: Inputs[Body]) -> Response:
    """A description of music for a form: one of a list."""
    return wrapped(_described(secrets.choice(SAMPLES)))


async def format_input(front: Front, inputs: Inputs[Body]) -> Response:
    """The request's fields in one notation. There is no language model that would write more."""
    fields = Fields(inputs.body.root)
    wanted = {
        "prompt": " ".join(str(fields.get("prompt") or "").split()),
        "lyrics": "\n".join(line.strip() for line in str(fields.get("lyrics") or "").strip().splitlines()),
        "bpm": fields.get("bpm"),
        "key": fields.get("key_scale"),
        "time_signature": fields.get("time_signature"),
    }
    read = validated(GenerateRequest, wanted)
    tidied = {
        "caption": read.prompt,
        "lyrics": read.lyrics,
        "bpm": read.bpm,
        "key_scale": read.key or "",
        "time_signature": read.time_signature or "",
        "audio_duration": fields.get("audio_duration"),
        "vocal_language": fields.get("vocal_language"),
    }
    note = "there is no language model here: the fields are tidied, and nothing is added"
    return wrapped(_described(tidied), {"note": note})


def _described(sample: Mapping[str, Any]) -> dict[str, Any]:
    """A description of music in the fields that ACE-Step answers."""
    names = ("caption", "lyrics", "bpm", "key_scale", "time_signature")
    language = sample.get("vocal_language") or "en"
    return {name: sample[name] for name in names} | {
        "duration": sample["audio_duration"],
        "vocal_language": language,
    }


def _files(inputs: Inputs[Body]) -> dict[str, io.FileIO]:
    """The files of a form, by the service's names. Raises Refusal (400)."""
    found: dict[str, io.FileIO] = {}
    for name, uploads in inputs.files.items():
        for upload in uploads:
            if _FILES[name] in found:
                raise Refusal(400, f"{name}: send one {_FILES[name]} a task")
            found[_FILES[name]] = on_disk(upload)
    return found


_route = partial(Route, error_field="detail", documented=False)
_with_body = partial(_route, body=Body, accepts_forms=True, token_in_body=True)
ROUTES = (
    _with_body(
        "POST",
        "/acestep/release_task",
        "artists",
        "Release a task",
        GENERATE,
        release_task,
        form_files=tuple(_FILES),
        form_files_required=False,
    ),
    _with_body("POST", "/acestep/query_result", "artists", "The results of tasks", GENERATE, query_result),
    _with_body("POST", "/acestep/create_random_sample", "artists", "A random sample", GENERATE, random_sample),
    _with_body("POST", "/acestep/format_input", "artists", "The input, tidied", GENERATE, format_input),
    _route(
        "GET",
        "/acestep/v1/audio",
        "artists",
        "A track",
        ANY_SCOPE,
        audio,
        parameters=(Parameter("path", "As in the task's result.", required=True),),
        stream=True,
        cancelled_on_disconnect=True,
    ),
    _route(
        "POST",
        "/acestep/v1/chat/completions",
        "artists",
        "Tracks as the answer of a chat",
        GENERATE,
        chat_completions,
        body=Body,
        cancelled_on_disconnect=True,
    ),
    _route("GET", "/acestep/v1/models", "artists", "The models", ANY_SCOPE, list_models),
    _route("GET", "/acestep/v1/stats", "artists", "The tasks of this process", ANY_SCOPE, stats),
    _route("GET", "/acestep/health", "operators", "Whether tracks can be made", ANY_SCOPE, health, quiet=True),
)
