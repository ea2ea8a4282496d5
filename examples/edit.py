"""Hear what can be done with a recording: a track for each task that the served model can do.

    python edit.py beat.wav --reference other.wav --lora-id ada:night

Needs Python 3.11 and httpx, and a running service. docs/editing.md explains the tasks.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import httpx

MEDIA_TYPES = {"wav": "audio/wav", "flac": "audio/flac", "mp3": "audio/mpeg", "opus": "audio/ogg"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="a recording of at least four seconds")
    parser.add_argument("--reference", type=Path, help="a recording whose timbre a track follows")
    parser.add_argument("--lora-id", help="a twin, as producer:model")
    parser.add_argument("--backend", help="the model; a twin's own, or the default one, if left out")
    parser.add_argument("--url", default="http://127.0.0.1:3000", help="where the service is")
    parser.add_argument("--key", help="an API key; a service on your own machine may need none")
    parser.add_argument("--prompt", default="808 trap beat, dark synth")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--format", choices=MEDIA_TYPES, default="wav")
    parser.add_argument("--out", type=Path, default=Path("edits"), help="the folder for the tracks")
    options = parser.parse_args()

    common = {"prompt": options.prompt, "seed": options.seed}
    common |= {"lora_id": options.lora_id} if options.lora_id else {}
    common |= {"backend_override": options.backend} if options.backend else {}
    wanted: dict[str, dict[str, Any]] = {
        "repaint": {"start": 1, "end": 3},
        "extend": {"after": 4},
        "cover": {"strength": 0.7},
        "complete": {"tracks": "drums,bass"},
        "lego": {"tracks": "drums"},
        "extract": {"tracks": "vocals"},
        "melody": {"duration_seconds": 8},
    }
    headers = {"authorization": f"Bearer {options.key}"} if options.key else {}
    options.out.mkdir(parents=True, exist_ok=True)
    with httpx.Client(base_url=options.url, headers=headers, timeout=httpx.Timeout(30, read=None)) as service:
        backend = served_by(service, options.backend, options.lora_id)
        for task in (each for each in backend["tasks"] if each in wanted):
            fields = common | {"task": task} | wanted[task]
            make(service, options.out / f"{task}.{options.format}", fields, source=options.source)
        if options.reference and backend["takes_reference"]:
            fields = common | {"duration_seconds": 8}
            make(service, options.out / f"reference.{options.format}", fields, reference=options.reference)


def served_by(service: httpx.Client, name: str | None, lora_id: str | None) -> dict[str, Any]:
    """The row of `GET /backends` for the model that will serve."""
    if lora_id and not name:
        name = answered(service.get(f"/loras/{lora_id}")).json()["backend"]
    rows: list[dict[str, Any]] = answered(service.get("/backends")).json()["backends"]
    return next(row for row in rows if (row["name"] == name if name else row["default"]))


def make(service: httpx.Client, out: Path, fields: dict[str, Any], **files: Path) -> None:
    """Make a track and write it to a file. Paths of stored tracks and uploads can be sent instead of files."""
    opened = {name: (path.name, path.read_bytes()) for name, path in files.items()}
    accept = MEDIA_TYPES[out.suffix[1:]]
    answer = service.post("/generate/form", data=fields, files=opened, headers={"accept": accept})
    out.write_bytes(answered(answer).content)
    print(out)


def answered(answer: httpx.Response) -> httpx.Response:
    if answer.is_error:
        # Every error is {"error": "one sentence"}.
        raise SystemExit(f"{answer.request.url.path}: {answer.status_code} {answer.json()['error']}")
    return answer


if __name__ == "__main__":
    main()
