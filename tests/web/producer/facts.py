"""What the stand-in for the service has of the producer `ada`: a training, its report, a twin, versions, storage."""

from __future__ import annotations

from typing import Any

PRODUCER = "ada"
TWIN = "ada:night"
Json = dict[str, Any]

JOB: Json = {
    "job_id": "one",
    "task_id": None,
    "producer_id": PRODUCER,
    "model_name": "night",
    "backend": "ace_step",
    "state": "done",
    "step": 40,
    "total_steps": 40,
    "loss": 0.7,
    "held_out_loss": 0.8,
    "steps_per_second": 2.5,
    "seconds_left": 0,
    "queue_position": None,
    "created_at": "2026-11-24T19:00:00Z",
    "updated_at": "2026-11-24T19:00:00Z",
    "error": None,
    "result": None,
    "previews": [],
    "progress": None,
    "best_step": None,
    "stopped_early": None,
}
ROW: Json = {
    "lora_id": TWIN,
    "producer_id": PRODUCER,
    "model_name": "night",
    "backend": "ace_step",
    "version": "0f1e2d3c4b5a6978",
    "rank": 16,
    "base": "starter",
    "bpm": 140,
    "recommended_scale": 1.0,
    "usable": True,
    "reason": None,
    "created_at": "2026-11-24T19:00:00Z",
    "bytes": 1_048_576,
    "sha256": "9f" * 32,
}
RUNNING = JOB | {"job_id": "two", "model_name": "dawn", "state": "training", "step": 20, "seconds_left": 8}
REPORT: Json = {
    "job_id": "one",
    "complete": True,
    "verdict": {"verdict": "weak", "sentence": "The service's sentence.", "advice": "Raise learning_rate."},
    "data": {
        "songs": 3,
        "trained_seconds": 125.0,
        "set_aside": ["/data/uploads/ada/one/cold light.wav"],
        "by_song": [
            {
                "song": number,
                "name": name,
                "seconds": 60.0,
                "segments": 4,
                "held_out": number == 1,
                "duplicate_of": None,
                "tempo": {"value": 140.0, "source": "analysis", "confidence": 0.9, "alternative": None},
                "key": None,
                "words": [],
            }
            for number, name in enumerate(["night drive", "cold light", "last train"])
        ],
        "warnings": [],
    },
    "training": {
        "total_steps": 40,
        "loss": [[1, 1.0], [20, 0.8], [40, 0.7]],
        "held_out_loss": [[1, 1.0], [40, 0.8]],
        "kept": {"keep": "best", "step": 40, "reason": ""},
    },
    "held_out": {"gain": 0.02, "low": -0.01, "high": 0.05, "by_song": [{"song": 1, "gain": 0.02}]},
    "trained_on": {"gain": 0.1, "low": 0.05, "high": 0.15, "by_song": []},
    "other_music": {"gain": -0.2, "low": -0.3, "high": -0.1},
    "resemblance": {
        "own": {"value": 0.4, "low": 0.3, "high": 0.5},
        "with_twin": {"value": 0.9, "low": 0.8, "high": 1.0},
        "without": {"value": 1.1, "low": 1.0, "high": 1.2},
        "other_music": {"value": 0.7, "low": 0.6, "high": 0.8},
    },
    "comparisons": [{"prompt": "techno, synth", "without": "without_0.mp3", "with_twin": "with_0.mp3"}],
    "own_clips": [{"name": "own_0.mp3", "song": 1, "prompt": "techno, synth"}],
    "unmeasured": [],
}
STORED: Json = {
    "producer_id": PRODUCER,
    "bytes": 3_500_000,
    "limit": 10_000_000,
    "objects": 2,
    "by": {"uploads": 3_500_000},
}
ANALYSIS: Json = {
    "format": "wav",
    "sample_rate": 44_100,
    "channels": 2,
    "seconds": 61.0,
    "bpm": 140.0,
    "bpm_confidence": 0.9,
    "bpm_alternative": None,
    "bpm_alternative_confidence": None,
    "key": "A minor",
    "key_confidence": 0.7,
    "peak": 0.9,
    "loudness": -9.0,
    "clipped": 0,
    "silent": 0.0,
    "warnings": [],
    "embedded": {"title": None, "artist": None, "genre": None, "bpm": None, "key": None},
}


def version(number: int, **other: Any) -> Json:
    """A version whose name is the digit 16 times."""
    named = {"version": f"{number:x}" * 16, "job_id": "one", "current": False, "partial": None}
    return ROW | named | other
