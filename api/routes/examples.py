"""Examples of requests and answers that several routes share, for the OpenAPI document."""

from __future__ import annotations

from typing import Any

UPLOAD = "/data/uploads/ada/takes/beat.wav"
TWIN = "ada:night"
VERSION = "0f1e2d3c4b5a6978"
TWIN_ROW: dict[str, Any] = {
    "lora_id": TWIN,
    "producer_id": "ada",
    "model_name": "night",
    "backend": "ace_step",
    "version": VERSION,
    "rank": 16,
    "base": "starter",
    "bpm": 140,
    "recommended_scale": 1.25,
    "usable": True,
    "reason": None,
    "created_at": "2026-11-24T19:00:00Z",
    "bytes": 1_048_576,
    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
}
TRAINED = {
    "job_id": "takes",
    "producer_id": "ada",
    "model_name": "night",
    "backend": "ace_step",
    "lora_path": "/data/loras/ada_night.safetensors",
    "models_path": "/data/models/ada/adapter_model.safetensors",
}
JOB: dict[str, Any] = {
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
    "progress": None,
    "best_step": 40,
    "stopped_early": None,
}
GENERATED: dict[str, Any] = {
    "backend": "ace_step",
    "seed": 7,
    "sample_rate": 48_000,
    "duration_seconds": 30.0,
    "output_path": "/data/outputs/ada/track.wav",
    "lora_scale": 1.25,
}
TRACK: dict[str, Any] = {
    "track_id": "twins:ada:2600f1d8a2c-6f1c2d0e-6a35-4f0a-9a51-0f4f7f9f3a57",
    "title": "Night drive",
    "liked": True,
    "created_at": "2026-11-24T19:00:00Z",
    "output_path": "/data/outputs/twins/ada/2600f1d8a2c-6f1c2d0e-6a35-4f0a-9a51-0f4f7f9f3a57.wav",
    "output_format": "wav",
    "sample_rate": 48_000,
    "duration_seconds": 30.0,
    "prompt": "808 trap beat, dark synth",
    "options": {"lora_id": TWIN, "duration_seconds": 30.0, "seed": 7},
    "seed": 7,
    "backend": "ace_step",
    "checkpoint": "starter",
    "twins": [{"lora_id": TWIN, "version": VERSION, "strength": 1.0}],
    "producer_id": "ada",
    "bpm": 140,
    "key": None,
    "task": "text",
    "parent": None,
    "source": None,
    "reference": None,
    "takes": [],
    "figures": None,
}
SUBMITTED: dict[str, Any] = {
    "track_id": TRACK["track_id"],
    "state": "queued",
    "created_at": "2026-11-24T19:00:00Z",
    "ahead": None,
    "progress": None,
    "seconds_left": None,
    "audible": False,
    "error": None,
    "track": None,
}
UPLOADED: dict[str, Any] = {"path": UPLOAD, "producer_id": "ada", "job_id": "takes", "warnings": []}
TRAIN_REQUEST = {
    "producer_id": "ada",
    "upload_paths": [UPLOAD],
    "model_name": "night",
    "metadata_per_file": [{"bpm": 140}],
}
IMPORTED = TWIN_ROW | {
    "notes": ["it changes what the model makes by 0.31 of its size, the weights of its layers by 0.02 of theirs"]
}
