"""`producer-twin generate`."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from producer_twin import ProducerTwin, ProducerTwinError, Retry
from producer_twin._files import FORMATS
from producer_twin.cli.context import Json, client_of, service_of
from producer_twin.cli.output import ProgressBar, print_json, print_line
from producer_twin.requests import BlendPart, GenerateOptions

_POLL_SECONDS = 1.0


def generate(
    context: typer.Context,
    prompt: Annotated[str, typer.Argument(help="A description of the music.")],
    twin: Annotated[
        list[str] | None,
        typer.Option("--twin", "-t", metavar="PRODUCER:MODEL[=WEIGHT]", help="A twin; several are blended."),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="The file; its extension is the format.", dir_okay=False)
    ] = Path("track.wav"),
    seconds: Annotated[float | None, typer.Option("--seconds", "-s", help="The length.")] = None,
    seed: Annotated[int | None, typer.Option(help="The same request and seed give the same track.")] = None,
    scale: Annotated[float | None, typer.Option(help="The strength of the twins, 0 to 2.")] = None,
    bpm: Annotated[str | None, typer.Option(help="The tempo.")] = None,
    key: Annotated[str | None, typer.Option(help="The musical key, such as Am.")] = None,
    time_signature: Annotated[str | None, typer.Option(help="Such as 4/4.")] = None,
    lyrics: Annotated[str | None, typer.Option(help="The words to sing.")] = None,
    backend: Annotated[str | None, typer.Option(help="The model; the twin's, or the default one, if left out.")] = None,
    steps: Annotated[int | None, typer.Option(help="Sampling steps.")] = None,
    guidance: Annotated[float | None, typer.Option(help="How closely the prompt is followed.")] = None,
    shift: Annotated[float | None, typer.Option(help="The shift of ACE-Step's timesteps.")] = None,
    temperature: Annotated[float | None, typer.Option(help="The temperature of MusicGen's sampling.")] = None,
    bit_depth: Annotated[str | None, typer.Option(help="Of WAV: 16, 24 or 32f; of FLAC: 16 or 24.")] = None,
    loudness: Annotated[float | None, typer.Option(help="The loudness in LUFS, such as -14.")] = None,
    loop: Annotated[bool, typer.Option("--loop", help="Cut to whole bars, to be repeated; needs a tempo.")] = False,
    json: Json = False,
) -> None:
    """Make a track, and write it to a file."""
    if out.suffix.lower() not in FORMATS:
        raise typer.BadParameter(f"{out}: end its name in {', '.join(FORMATS)}", param_hint="--out")
    chosen = {
        "output_format": FORMATS[out.suffix.lower()],
        "duration_seconds": seconds,
        "seed": seed,
        "lora_scale": scale,
        "bpm": bpm,
        "key": key,
        "time_signature": time_signature,
        "lyrics": lyrics,
        "backend_override": backend,
        "steps": steps,
        "guidance": guidance,
        "shift": shift,
        "temperature": temperature,
        "bit_depth": bit_depth,
        "loudness": loudness,
        "loop": loop or None,
    }
    options: GenerateOptions = {name: value for name, value in chosen.items() if value is not None}  # type: ignore[assignment]
    parts = [_part(each) for each in twin or []]
    if len(parts) == 1 and parts[0].get("weight", 1.0) == 1:
        options["lora_id"] = parts[0]["lora_id"]
    elif parts:
        options["loras"] = parts
    client, request_id = client_of(context), str(uuid.uuid4())
    # Its requests run beside the track's, and are not repeated.
    poller = context.with_resource(service_of(context).client(Retry(attempts=1)))
    with _progress(poller, request_id):
        track = client.generate(prompt, request_id=request_id, **options)
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
