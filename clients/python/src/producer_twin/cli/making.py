"""How `generate` and `edit` have a track made: waited for and written to a file, or submitted."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any

import typer

from producer_twin import ProducerTwin, ProducerTwinError, Retry
from producer_twin._files import FORMATS
from producer_twin._paths import track_id_of
from producer_twin.cli.context import client_of, service_of
from producer_twin.cli.options import Delivery, TrackOptions
from producer_twin.cli.output import ProgressBar, print_json, print_line, say
from producer_twin.requests import BlendPart, GenerateOptions, SubmitOptions

_POLL_SECONDS = 1.0
_DEFAULT_FILE = Path("track.wav")


def make(
    context: typer.Context,
    prompt: str,
    options: TrackOptions,
    own: dict[str, Any],
    delivery: Delivery,
    files: Mapping[str, Path] = MappingProxyType({}),
) -> None:
    """Make a track, and write it to a file.

    Args:
        own: further fields of the request; those that are None are left out.
        files: those of `source` and `reference` that are sent along.
    """
    if delivery.webhook:
        raise typer.BadParameter("only a track that is submitted tells a webhook; add --submit", param_hint="--webhook")
    out = delivery.out or _DEFAULT_FILE
    check_file(out)
    fields: GenerateOptions = _fields(options, own | {"output_format": FORMATS[out.suffix.lower()]})  # type: ignore[assignment]
    client, request_id = client_of(context), str(uuid.uuid4())
    # Its requests run beside the track's, and are not repeated.
    poller = context.with_resource(service_of(context).client(Retry(attempts=1)))
    try:
        with _progress(poller, request_id):
            track = client.generate(
                prompt,
                source_file=files.get("source"),
                reference_file=files.get("reference"),
                request_id=request_id,
                **fields,
            )
    except KeyboardInterrupt:
        say("the track is cancelled; one that is made with --submit goes on")
        raise
    try:
        track.save(out)
    except (KeyboardInterrupt, ProducerTwinError, OSError):
        say(f"the track is made: producer-twin tracks save {track_id_of(track.output_path)}")
        raise
    if delivery.json:
        print_json(track.model_dump(mode="json") | {"file": str(out)})
    else:
        print_line(f"{out}: {track.duration_seconds:.1f} s by {track.backend}, seed {track.seed}")


def submit(context: typer.Context, prompt: str, options: TrackOptions, own: dict[str, Any], delivery: Delivery) -> None:
    """Submit a track, and print its id. `own` is as above."""
    check_has_no_file(delivery)
    fields: SubmitOptions = _fields(options, own | {"webhook_url": delivery.webhook})  # type: ignore[assignment]
    submitted = client_of(context).tracks.submit(prompt, **fields)
    if delivery.json:
        print_json(submitted)
    else:
        print_line(submitted.track_id)


def check_file(out: Path) -> None:
    """Raises BadParameter for a file whose name has no format."""
    if out.suffix.lower() not in FORMATS:
        raise typer.BadParameter(f"{out}: end its name in {', '.join(FORMATS)}", param_hint="--out")


def check_has_no_file(delivery: Delivery) -> None:
    """Raises BadParameter for a file that a submitted track would not be written to."""
    if delivery.out:
        raise typer.BadParameter("--submit writes no file; `tracks wait` and `tracks save` do", param_hint="--out")


def _fields(options: TrackOptions, own: dict[str, Any]) -> dict[str, Any]:
    """The fields of the request that were given."""
    given = asdict(options) | dict(own)
    parts = [_part(each) for each in given.pop("twins") or []]
    if len(parts) == 1 and parts[0].get("weight", 1.0) == 1:
        given["lora_id"] = parts[0]["lora_id"]
    elif parts:
        given["loras"] = parts
    return {name: value for name, value in given.items() if value is not None}


def _part(text: str) -> BlendPart:
    lora_id, equals, weight = text.partition("=")
    if not equals:
        return {"lora_id": lora_id}
    try:
        return {"lora_id": lora_id, "weight": float(weight)}
    except ValueError:
        raise typer.BadParameter(f"{weight} is not a number", param_hint="--twin") from None


@contextmanager
def _progress(client: ProducerTwin, request_id: str) -> Iterator[None]:
    """Show the track's queue position while the block makes it."""
    done = threading.Event()

    def poll() -> None:
        while not done.wait(_POLL_SECONDS):
            try:
                bar.show_track(client.tracks.queue(request_id))
            except ProducerTwinError:  # the request for the track itself has the error
                continue

    with ProgressBar("generating") as bar:
        thread = threading.Thread(target=poll, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join(timeout=_POLL_SECONDS)
