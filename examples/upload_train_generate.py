"""Upload beats, train a twin on them, and generate a track with it.

    python upload_train_generate.py beat.wav another.flac --producer ada --model night

Needs Python 3.11 and httpx, and a running service (`make serve`).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import httpx


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, help="audio files of one producer; three or more make a twin")
    parser.add_argument("--url", default="http://127.0.0.1:3000", help="where the service is")
    parser.add_argument("--key", help="an API key; a service on your own machine may need none")
    parser.add_argument("--producer", default="ada", help="the producer's id")
    parser.add_argument("--model", default="night", help="the twin's name")
    parser.add_argument("--max-steps", type=int, help="train for fewer or more steps than the service chooses")
    parser.add_argument("--prompt", default="808 trap beat, dark synth")
    parser.add_argument("--seconds", type=float, default=30, help="length of the track")
    parser.add_argument("--seed", type=int, default=7, help="the same request with the same seed gives the same track")
    parser.add_argument("--out", type=Path, default=Path("track.wav"))
    options = parser.parse_args()

    headers = {"authorization": f"Bearer {options.key}"} if options.key else {}
    # A track takes seconds to minutes: no timeout for reading.
    timeout = httpx.Timeout(30, read=None)
    with httpx.Client(base_url=options.url, headers=headers, timeout=timeout) as service:
        paths = [upload(service, options.producer, file) for file in options.files]
        lora_id = train(service, options.producer, options.model, paths, options.max_steps)
        track = generate(service, lora_id, options.prompt, options.seconds, options.seed)
    options.out.write_bytes(track)
    print(f"{options.out}: {options.seconds:g} s with {lora_id}")


def upload(service: httpx.Client, producer: str, file: Path) -> str:
    """Send a file. Returns its path in the service's storage."""
    with file.open("rb") as content:
        answer = service.post("/uploads", data={"producer_id": producer}, files={"file": (file.name, content)})
    uploaded = checked(answer)
    for warning in uploaded["warnings"]:
        print(f"{file.name}: {warning}")
    return str(uploaded["path"])


def train(service: httpx.Client, producer: str, model: str, paths: list[str], max_steps: int | None) -> str:
    """Train a twin and wait for it. Returns its id."""
    body = {"producer_id": producer, "model_name": model, "upload_paths": paths, "max_steps": max_steps}
    job_id = checked(service.post("/train/submit", json=body))["job_id"]
    print(f"job {job_id}")
    job = watch(service, job_id)
    if job["state"] != "done":
        raise SystemExit(f"the training {job['state']}: {job['error']}")
    verdict = checked(service.get(f"/jobs/{job_id}/report.json"))["verdict"]
    print(f"{verdict['verdict']}: {verdict['sentence']} {verdict['advice']}")
    return f"{producer}:{model}"


def watch(service: httpx.Client, job_id: str) -> dict[str, Any]:
    """Print how far the job is until it has ended. Returns its record."""
    # Server-sent events: each is a line `data: {…}` with the job's record.
    with service.stream("GET", f"/jobs/{job_id}/events") as events:
        for line in events.iter_lines():
            if line.startswith("data:"):
                job = json.loads(line.removeprefix("data:"))
                print(f"  {job['state']}, step {job['step'] or 0} of {job['total_steps'] or '?'}")
    return checked(service.get(f"/jobs/{job_id}"))


def generate(service: httpx.Client, lora_id: str, prompt: str, seconds: float, seed: int) -> bytes:
    """Make a track. Returns it as a WAV file."""
    body = {"prompt": prompt, "lora_id": lora_id, "duration_seconds": seconds, "seed": seed}
    # `Accept` asks for the file itself; without it the answer is JSON with the file as base64.
    answer = service.post("/generate", json=body, headers={"accept": "audio/wav"})
    if answer.is_error:
        checked(answer)
    return answer.content


def checked(answer: httpx.Response) -> dict[str, Any]:
    """The answer's JSON. Every error is `{"error": "one sentence"}`."""
    document: dict[str, Any] = answer.json()
    if answer.is_error:
        raise SystemExit(f"{answer.request.url.path}: {answer.status_code} {document['error']}")
    return document


if __name__ == "__main__":
    main()
