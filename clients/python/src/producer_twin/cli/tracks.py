"""What `generate` and `edit` share: options, and how a track is made and written."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from producer_twin import ProducerTwin, ProducerTwinError, Retry
from producer_twin._files import FORMATS
from producer_twin.cli.context import client_of, service_of
from producer_twin.cli.output import ProgressBar, print_json, print_line
from producer_twin.requests import BlendPart, GenerateOptions

_POLL_SECONDS = 1.0

Prompt = Annotated[str, typer.Argument(help="A description of the music.")]
Twins = Annotated[
    list[str] | None,
    typer.Option("--twin", "-t", metavar="PRODUCER:MODEL[=WEIGHT]", help="A twin; several are blended."),
]
Out = Annotated[Path, typer.Option("--out", "-o", help="The file; its extension is the format.", dir_okay=False)]
Seed = Annotated[int | None, typer.Option(help="The same request and seed give the same track.")]
Scale = Annotated[float | None, typer.Option(help="The strength of the twins, 0 to 2.")]
Bpm = Annotated[str | None, typer.Option(help="The tempo.")]
Key = Annotated[str | None, typer.Option(help="The musical key, such as Am.")]
TimeSignature = Annotated[str | None, typer.Option(help="Such as 4/4.")]
Lyrics = Annotated[str | None, typer.Option(help="The words to sing.")]
Language = Annotated[str | None, typer.Option(help="The language of the words, such as ja.")]
BackendName = Annotated[
    str | None, typer.Option("--backend", help="The model; the twin's, or the default one, if left out.")
]
Steps = Annotated[int | None, typer.Option(help="Sampling steps.")]
Guidance = Annotated[float | None, typer.Option(help="How closely the prompt is followed.")]
Shift = Annotated[float | None, typer.Option(help="The shift of ACE-Step's timesteps.")]
Temperature = Annotated[float | None, typer.Option(help="The temperature of MusicGen's sampling.")]


def make(
    context: typer.Context,
    prompt: str,
    twins: list[str] | None,
    out: Path,
    json: bool,
    chosen: Mapping[str, Any],
    files: Mapping[str, Path | None] | None = None,
) -> None:
    """Make a track, and write it to a file.

    Args:
        chosen: fields of the request; those that are None are left out.
        files: by the client's names of their arguments.
    """
    if out.suffix.lower() not in FORMATS:
        raise typer.BadParameter(f"{out}: end its name in {', '.join(FORMATS)}", param_hint="--out")
    fields = {"output_format": FORMATS[out.suffix.lower()], **chosen}
    options: GenerateOptions = {name: value for name, value in fields.items() if value is not None}  # type: ignore[assignment]
    parts = [_part(each) for each in twins or []]
    if len(parts) == 1 and parts[0].get("weight", 1.0) == 1:
        options["lora_id"] = parts[0]["lora_id"]
    elif parts:
        options["loras"] = parts
    client, request_id = client_of(context), str(uuid.uuid4())
    # Its requests run beside the track's, and are not repeated.
    poller = context.with_resource(service_of(context).client(Retry(attempts=1)))
    with _progress(poller, request_id):
        track = client.generate(prompt, request_id=request_id, **(files or {}), **options)
    track.save(out)
    if json:
        print_json(track.model_dump(mode="json") | {"file": str(out)})
    else:
        print_line(f"{out}: {track.duration_seconds:.1f} s by {track.backend}, seed {track.seed}")


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
                bar.show_queue(client.tracks.queue(request_id))
            except ProducerTwinError:  # it is not known yet, or no longer; the track's own request says what is wrong
                continue

    with ProgressBar("generating") as bar:
        thread = threading.Thread(target=poll, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join(timeout=_POLL_SECONDS)
