"""Descriptions of the fields of requests, for the OpenAPI document; their limits are in the contract's models."""

from __future__ import annotations

from contract import ID_RULE

_PRODUCER = f"Whose it is: {ID_RULE}"
_JOB = "The folder it lies in; a new UUID if left out"
_FILENAME = "Reduced to its last part"
_FILE = "WAV, FLAC, MP3, Ogg, Opus or M4A"

FIELDS: dict[str, dict[str, str]] = {
    "StoreUploadRequest": {
        "producer_id": _PRODUCER,
        "job_id": _JOB,
        "filename": _FILENAME,
        "content_base64": f"{_FILE}, as base64 or as a data URL",
    },
    "UploadFields": {"producer_id": _PRODUCER, "job_id": _JOB, "filename": f"{_FILENAME}; the file's own if left out"},
    "UploadLinkRequest": {
        "producer_id": _PRODUCER,
        "job_id": _JOB,
        "filename": _FILENAME,
        "bytes": "How large the file is",
    },
    "TrainRequest": {
        "producer_id": _PRODUCER,
        "upload_urls": "http(s) URLs on public addresses; this, or upload_paths",
        "upload_paths": "As uploads answered them; this, or upload_urls",
        "dataset_job_id": "An earlier job whose dataset is trained on again, instead of files",
        "model_name": "The twin's name; it is used as producer_id:model_name",
        "metadata_per_file": "An object for each file: title, bpm, key, genre, mood, tags; before what is heard",
        "job_id": "The same id with the same body answers the same job; a new UUID if left out",
        "skip_preprocess": "Train on the raw files",
        "tag_before_train": "Gemini describes each segment; needs GEMINI_API_KEY",
        "backend_override": "The model; the default one if left out",
        "max_steps": "Optimiser steps; what suits the model and the music if left out",
        "rank": "Of the adapter; what suits the model if left out",
        "learning_rate": "What suits the model if left out",
        "seed": "Of what training draws",
        "profile": "contract: segments of 44.1 kHz mono; native: the model's own rate and channels",
        "segment_on": "time: every 15 s; beat: on bars",
        "rights_confirmed": "The producer's word that the music is theirs to train on; kept in the dataset's record",
    },
    "BlendPart": {
        "lora_id": "A twin, or producer:model@version",
        "weight": "Its share; all shares together count as 1",
    },
    "GenerateRequest": {
        "prompt": "What to play",
        "lora_id": "A twin, or producer:model@version; the base model if left out",
        "loras": "Several twins between which the track is, instead of lora_id",
        "duration_seconds": "Up to the model's limit; 60, or that limit if it is less, if left out",
        "backend_override": "The model; a twin's own, or the default one, if left out",
        "seed": "The same request and seed give the same audio; a new one, which is answered, if left out or -1",
        "lora_scale": "How strongly the twins work",
        "lyrics": "What is sung",
        "bpm": "The tempo, rounded to a whole number; left to the model if it is 0, empty, auto or left out",
        "key": "Major or minor, such as A minor, Am or 8A; left to the model if it is empty, auto or left out",
        "time_signature": "Of 2/4, 3/4, 4/4 or 6/8; left to the model if it is empty, auto or left out",
        "steps": "Sampling steps; the checkpoint's own if left out",
        "guidance": "How closely the prompt is followed; the checkpoint's own if left out",
        "shift": "Of ACE-Step's timesteps; the checkpoint's own if left out",
        "temperature": "Of MusicGen's sampling; the checkpoint's own if left out",
        "output_format": "wav has 16 bits; what Accept names, if left out",
        "response": "base64: the audio in the answer; url: a link to it, for tracks of any length",
    },
    "RollbackRequest": {"version": "As /loras/{lora_id}/versions lists it"},
    "ImportFields": {
        "producer_id": _PRODUCER,
        "model_name": "The twin's name",
        "backend": "The model it is for; found by the file if left out",
    },
    "RetrainRequest": {
        "job_id": "A new UUID if left out",
        "max_steps": "As the training before if left out",
        "seed": "As the training before if left out",
    },
}
