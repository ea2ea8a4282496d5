"""What every route takes, answers and refuses, as the OpenAPI document (front.document) tells it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel

import contract as c

UPLOAD = "/data/uploads/ada/takes/beat.wav"
TWIN = "ada:night"
VERSION = "0f1e2d3c4b5a6978"
_TWIN_ROW: dict[str, Any] = {
    "lora_id": TWIN,
    "producer_id": "ada",
    "model_name": "night",
    "backend": "ace_step",
    "version": VERSION,
    "rank": 16,
    "base": "starter",
    "usable": True,
    "reason": None,
    "created_at": "2026-11-24T19:00:00Z",
    "bytes": 1_048_576,
    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
}
_TRAINED = {
    "job_id": "takes",
    "producer_id": "ada",
    "model_name": "night",
    "backend": "ace_step",
    "lora_path": "/data/loras/ada_night.safetensors",
    "models_path": "/data/models/ada/adapter_model.safetensors",
}
_JOB: dict[str, Any] = {
    "job_id": "takes",
    "task_id": None,
    "producer_id": "ada",
    "model_name": "night",
    "backend": "ace_step",
    "state": "training",
    "step": 40,
    "total_steps": 200,
    "loss": 0.81,
    "held_out_loss": 0.84,
    "steps_per_second": 4.2,
    "seconds_left": 38.0,
    "queue_position": None,
    "created_at": "2026-11-24T19:00:00Z",
    "updated_at": "2026-11-24T19:00:41Z",
    "error": None,
    "result": None,
    "previews": [],
}
_MADE: dict[str, Any] = {
    "backend": "ace_step",
    "seed": 7,
    "sample_rate": 48_000,
    "duration_seconds": 30.0,
    "output_path": "/data/outputs/ada/track.wav",
}


@dataclass(frozen=True)
class Query:
    """A parameter of the query, or of the headers. `schema` is its JSON schema."""

    name: str
    about: str
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "string"})
    required: bool = False
    where: Literal["query", "header"] = "query"


@dataclass(frozen=True)
class Operation:
    """A route.

    Attributes:
        path: with its parameters in braces.
        body: the JSON that it takes, with an example of it.
        form: the fields of its multipart form beside `file`.
        answer: the JSON that it answers with 200, with an example; several models are alternatives.
        files: the media types of the bytes that it answers, instead of JSON or where `Accept` asks for them.
        errors: the statuses that are this route's own; those of every route are added.
        writes: it wants the password where one is set.
    """

    method: str
    path: str
    tag: str
    summary: str
    body: type[BaseModel] | None = None
    body_example: Mapping[str, Any] | None = None
    body_required: bool = True
    form: type[BaseModel] | None = None
    query: tuple[Query, ...] = ()
    answer: tuple[type[BaseModel], ...] = ()
    answer_example: Mapping[str, Any] | None = None
    files: tuple[str, ...] = ()
    errors: tuple[int, ...] = ()
    writes: bool = False


_ID = {"type": "string", "pattern": c.ID_PATTERN}
_OF_PRODUCER = Query("producer_id", "Only this producer's.", _ID)
_TASK = Query("task_id", "As /train/submit answered it.", required=True)
REQUEST_ID = "^[A-Za-z0-9._-]{1,64}$"
AUDIO = ("audio/wav", "audio/flac", "audio/mpeg", "audio/ogg")
_UPLOADED = {"path": UPLOAD, "producer_id": "ada", "job_id": "takes"}
_TRAIN = {"producer_id": "ada", "upload_paths": [UPLOAD], "model_name": "night", "metadata_per_file": [{"bpm": 140}]}

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "POST",
        "/store-upload",
        "producers",
        "Keep an audio file, sent as base64",
        body=c.StoreUploadRequest,
        body_example={"producer_id": "ada", "filename": "beat.wav", "content_base64": "UklGRi4AAABXQVZFZm10…"},
        answer=(c.StoreUploadAnswer,),
        answer_example=_UPLOADED,
        errors=(400, 409, 413, 415, 507),
        writes=True,
    ),
    Operation(
        "POST",
        "/uploads",
        "producers",
        "Keep an audio file of any size, sent as a form",
        form=c.UploadFields,
        answer=(c.StoreUploadAnswer,),
        answer_example=_UPLOADED,
        errors=(400, 409, 413, 415, 507),
        writes=True,
    ),
    Operation(
        "POST",
        "/uploads/link",
        "producers",
        "A URL to which a browser may put a file past this service, where storage is S3",
        body=c.UploadLinkRequest,
        body_example={"producer_id": "ada", "bytes": 31_752_044, "filename": "beat.wav"},
        answer=(c.UploadLinkAnswer,),
        answer_example=_UPLOADED
        | {"url": "https://bucket.example/…", "method": "PUT", "headers": {"if-none-match": "*"}, "expires_in": 3600},
        errors=(400, 409, 413, 415, 507),
        writes=True,
    ),
    Operation(
        "GET",
        "/uploads/analysis",
        "producers",
        "What an uploaded file is: its length, tempo, key and levels",
        query=(Query("path", "As an upload answered it.", required=True),),
        answer=(c.AnalysisAnswer,),
        answer_example={
            "path": UPLOAD,
            "format": "wav",
            "sample_rate": 44_100,
            "channels": 2,
            "seconds": 184.2,
            "bpm": 140.02,
            "bpm_confidence": 0.93,
            "key": "A minor",
            "key_confidence": 0.71,
            "peak": -0.1,
            "loudness": -9.8,
            "clipped": 0,
            "silent": 0.4,
        },
        errors=(400, 404),
        writes=True,
    ),
    Operation(
        "POST",
        "/train",
        "producers",
        "Make a twin, and answer when it is made",
        body=c.TrainRequest,
        body_example=_TRAIN,
        answer=(c.TrainAnswer,),
        answer_example=_TRAINED,
        errors=(400, 404, 409, 413, 415, 507),
        writes=True,
    ),
    Operation(
        "POST",
        "/train/submit",
        "producers",
        "Make a twin, and answer at once",
        body=c.TrainRequest,
        body_example=_TRAIN,
        answer=(c.SubmittedAnswer,),
        answer_example={"task_id": "5f0c1e1e", "status": "in_progress", "job_id": "takes"},
        errors=(400, 404, 409, 413, 415, 507),
        writes=True,
    ),
    Operation(
        "GET",
        "/train/status",
        "producers",
        "How a task is; /jobs/{job_id} says more, and does not forget",
        query=(_TASK,),
        answer=(c.TaskAnswer,),
        answer_example={
            "task_id": "5f0c1e1e",
            "status": "completed",
            "created_at": "2026-11-24T19:00:00",
            "executed_at": "2026-11-24T19:04:00",
        },
        errors=(400, 404),
        writes=True,
    ),
    Operation(
        "GET",
        "/train/get",
        "producers",
        "What /train answered",
        query=(_TASK,),
        answer=(c.TrainAnswer,),
        answer_example=_TRAINED,
        errors=(400, 404, 409, 507),
        writes=True,
    ),
    Operation(
        "GET",
        "/jobs",
        "producers",
        "The training jobs, the newest first",
        query=(_OF_PRODUCER, Query("state", "Only those in it.", {"type": "string", "enum": list(c.STATES)})),
        answer=(c.JobsAnswer,),
        answer_example={"jobs": [_JOB]},
        errors=(400,),
    ),
    Operation(
        "GET",
        "/jobs/{job_id}",
        "producers",
        "A job, by its own id or its task's; null where something is not known yet",
        answer=(c.JobAnswer,),
        answer_example=_JOB,
        errors=(404,),
    ),
    Operation(
        "DELETE",
        "/jobs/{job_id}",
        "producers",
        "Delete a job that has ended, or whose record is damaged, with its dataset and report; its twin stays",
        answer=(c.JobDeletedAnswer,),
        answer_example={"job_id": "takes", "deleted": ["/data/jobs/takes.json"]},
        errors=(404, 409),
        writes=True,
    ),
    Operation(
        "POST",
        "/jobs/{job_id}/cancel",
        "producers",
        "End a job within a step; what was trained is kept, marked partial. Answers when it has ended",
        answer=(c.JobAnswer,),
        answer_example=_JOB | {"state": "cancelled"},
        errors=(404, 409),
        writes=True,
    ),
    Operation(
        "POST",
        "/jobs/{job_id}/resume",
        "producers",
        "Go on with a job that failed or was cancelled, from its last checkpoint",
        answer=(c.JobAnswer,),
        answer_example=_JOB | {"state": "queued", "queue_position": 1},
        errors=(400, 404, 409),
        writes=True,
    ),
    Operation(
        "GET",
        "/jobs/{job_id}/events",
        "producers",
        "The job's record whenever it changes, as server-sent events, until it has ended",
        files=("text/event-stream",),
        errors=(404,),
    ),
    Operation(
        "GET",
        "/jobs/{job_id}/report.json",
        "producers",
        "What the twin learned; docs/training.md describes it",
        answer=(c.ReportAnswer,),
        answer_example={"schema": 1, "job_id": "takes", "complete": True, "verdict": None, "unmeasured": []},
        errors=(404,),
    ),
    Operation(
        "GET",
        "/jobs/{job_id}/report",
        "producers",
        "The same as a page, with pictures and players",
        files=("text/html",),
        errors=(404,),
    ),
    Operation(
        "GET",
        "/jobs/{job_id}/previews/{name}",
        "producers",
        "A preview, or its spectrogram",
        files=("audio/mpeg", "image/png"),
        errors=(404,),
    ),
    Operation(
        "GET",
        "/datasets/{producer_id}",
        "producers",
        "The record of the producer's newest dataset; docs/preprocessing.md describes it",
        answer=(c.DatasetAnswer,),
        answer_example={"schema": 2, "producer_id": "ada", "job_id": "takes", "files": [], "segments": []},
        errors=(404,),
    ),
    Operation(
        "POST",
        "/generate",
        "artists",
        "Make a track; as JSON, or as the audio itself where Accept asks for audio",
        body=c.GenerateRequest,
        body_example={"prompt": "808 trap beat, dark synth", "lora_id": TWIN, "duration_seconds": 30, "seed": 7},
        query=(
            Query(
                "x-request-id",
                "An id of the client's own, such as a UUID, by which /queue tells the track's place.",
                {"type": "string", "pattern": REQUEST_ID},
                where="header",
            ),
        ),
        answer=(c.GenerateAnswer, c.GenerateLinkAnswer),
        answer_example={"audio_base64": "UklGRi4AAABXQVZFZm10…"} | _MADE,
        files=AUDIO,
        errors=(400, 404, 409, 413, 415, 507),
    ),
    Operation(
        "GET",
        "/queue/{request_id}",
        "artists",
        "Where a track stands that is waited for: how many are ahead, how much is done, how long it takes",
        answer=(c.QueueAnswer,),
        answer_example={
            "request_id": "6f1c2d0e-6a35-4f0a-9a51-0f4f7f9f3a57",
            "backend": "ace_step",
            "state": "waiting",
            "ahead": 2,
            "progress": 0.0,
            "seconds_left": 31.5,
        },
        errors=(404,),
    ),
    Operation(
        "GET",
        "/data/outputs/{path}",
        "artists",
        "A stored track, by ranges too; on S3 it leads on to a fresh link (307)",
        query=(Query("format", "A WAV or FLAC in another format.", {"type": "string", "enum": list(c.FORMATS)}),),
        files=AUDIO,
        errors=(400, 404),
    ),
    Operation(
        "GET",
        "/backends",
        "artists",
        "The models, and whether each can serve",
        answer=(c.BackendsAnswer,),
        answer_example={
            "backends": [
                {
                    "name": "ace_step",
                    "ready": True,
                    "reason": None,
                    "checkpoint": "starter",
                    "licence": "MIT",
                    "commercial_use": True,
                    "sample_rate": 48_000,
                    "channels": 2,
                    "max_duration_seconds": 600.0,
                    "default": True,
                    "under_way": 2,
                }
            ]
        },
    ),
    Operation(
        "GET",
        "/loras",
        "twins",
        "The twins",
        query=(_OF_PRODUCER,),
        answer=(c.LorasAnswer,),
        answer_example={"loras": [_TWIN_ROW]},
        errors=(400,),
    ),
    Operation(
        "POST",
        "/loras/import",
        "twins",
        "Make a twin of an adapter made elsewhere; `file` may come twice, with its adapter_config.json",
        form=c.ImportFields,
        answer=(c.ImportAnswer,),
        answer_example=_TWIN_ROW
        | {
            "notes": [
                "it changes what the model makes by 0.31 of its size, the weights of its layers by 0.02 of theirs"
            ]
        },
        errors=(400, 409, 413, 415, 507),
        writes=True,
    ),
    Operation(
        "GET", "/loras/{lora_id}", "twins", "A twin", answer=(c.LoraAnswer,), answer_example=_TWIN_ROW, errors=(404,)
    ),
    Operation(
        "DELETE",
        "/loras/{lora_id}",
        "twins",
        "Delete a twin with all its versions",
        answer=(c.DeletedAnswer,),
        answer_example={"lora_id": TWIN, "deleted": True},
        errors=(404,),
        writes=True,
    ),
    Operation(
        "GET",
        "/loras/{lora_id}/versions",
        "twins",
        "Its versions, the newest first",
        answer=(c.VersionsAnswer,),
        answer_example={"lora_id": TWIN, "versions": [_TWIN_ROW | {"job_id": "takes", "current": True}]},
        errors=(404,),
    ),
    Operation(
        "POST",
        "/loras/{lora_id}/rollback",
        "twins",
        "Let the twin be one of its versions again",
        body=c.RollbackRequest,
        body_example={"version": VERSION},
        answer=(c.LoraAnswer,),
        answer_example=_TWIN_ROW,
        errors=(400, 404, 413, 415),
        writes=True,
    ),
    Operation(
        "POST",
        "/loras/{lora_id}/retrain",
        "twins",
        "Make the twin anew from what it was trained on, on the checkpoint that is served now",
        body=c.RetrainRequest,
        body_example={},
        body_required=False,
        answer=(c.RetrainAnswer,),
        answer_example={"job_id": "again", "lora_id": TWIN, "state": "queued"},
        errors=(400, 404, 409, 413, 415, 507),
        writes=True,
    ),
    Operation(
        "GET",
        "/loras/{lora_id}/file",
        "twins",
        "The adapter file",
        query=(Query("version", "Another than the present one.", {"type": "string", "pattern": c.VERSION_PATTERN}),),
        files=("application/octet-stream",),
        errors=(400, 404),
    ),
    Operation(
        "GET",
        "/producers/{producer_id}",
        "producers",
        "How much is stored for a producer, and the limit",
        answer=(c.ProducerAnswer,),
        answer_example={
            "producer_id": "ada",
            "bytes": 31_752_044,
            "limit": None,
            "objects": 1,
            "by": {"uploads": 31_752_044},
        },
        errors=(404,),
    ),
    Operation(
        "DELETE",
        "/producers/{producer_id}",
        "producers",
        "Delete all that a producer has",
        answer=(c.ProducerDeletedAnswer,),
        answer_example={"producer_id": "ada", "deleted": [UPLOAD], "bytes": 31_752_044},
        errors=(404, 409),
        writes=True,
    ),
    Operation("GET", "/status", "operators", "How everything is, as a page for people", files=("text/html",)),
    Operation("GET", "/metrics", "operators", "Prometheus metrics", files=("text/plain",)),
    Operation("GET", "/livez", "operators", "200 while the process lives", files=("text/plain",)),
    Operation("GET", "/readyz", "operators", "200 when at least one backend can serve", files=("text/plain",)),
)
