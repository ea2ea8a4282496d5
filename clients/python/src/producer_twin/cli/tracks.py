"""`producer-twin tracks`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from producer_twin import ProducerTwinError
from producer_twin.cli.context import Json, Producer, Yes, client_of
from producer_twin.cli.making import check_file
from producer_twin.cli.output import ProgressBar, day, print_fields, print_json, print_line, print_table, say
from producer_twin.models import SubmittedTrackAnswer, TrackAnswer

app = typer.Typer(help="List, follow, cancel, save and delete tracks.", no_args_is_help=True)

TrackId = Annotated[str, typer.Argument(metavar="TRACK", help="The track's id.")]

_PAGE = 100
_MAX_SHOWN = 40


@app.command("list")
def list_all(
    context: typer.Context,
    producer: Producer = None,
    twin: Annotated[str | None, typer.Option("--twin", "-t", help="With this twin only.")] = None,
    text: Annotated[str | None, typer.Option(help="With these words in the title, prompt or lyrics only.")] = None,
    liked: Annotated[bool, typer.Option("--liked", help="Those that are liked only.")] = False,
    limit: Annotated[int, typer.Option(help="How many at most.", min=1)] = 20,
    json: Json = False,
) -> None:
    """List the tracks that are made, the newest first."""
    client, found, cursor = client_of(context), list[TrackAnswer](), None
    while len(found) < limit:
        page = client.tracks.list(
            producer_id=producer,
            lora_id=twin,
            text=text,
            liked=liked,
            cursor=cursor,
            limit=min(_PAGE, limit - len(found)),
        )
        found += page.tracks
        if (cursor := page.next_cursor) is None:
            break
    if json:
        print_json(found)
        return
    rows = [
        (
            each.track_id,
            _shortened(each.title or each.prompt),
            f"{each.duration_seconds:.1f} s",
            " ".join(twin.lora_id for twin in each.twins),
            day(each.created_at),
        )
        for each in found
    ]
    print_table(("track", "title", "length", "twin", "made"), rows)


@app.command()
def show(context: typer.Context, track_id: TrackId, json: Json = False) -> None:
    """Show a track, or how far a submitted one is."""
    found = client_of(context).tracks.get(track_id)
    if json:
        print_json(found)
    else:
        print_fields(found, exclude={"track"})


@app.command()
def wait(
    context: typer.Context,
    track_id: TrackId,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write it to this file.", dir_okay=False)] = None,
    json: Json = False,
) -> None:
    """Follow a submitted track until it is made."""
    if out:
        check_file(out)
    client = client_of(context)
    try:
        with ProgressBar("queued") as bar:
            track = client.tracks.wait(track_id, bar.show_track)
    except KeyboardInterrupt:
        say(f"the track goes on: producer-twin tracks wait {track_id}")
        raise
    if out:
        client.tracks.save(track.output_path, out)
    if json:
        print_json(track.model_dump(mode="json") | ({"file": str(out)} if out else {}))
    else:
        print_line(f"{out or track_id}: {track.duration_seconds:.1f} s by {track.backend}, seed {track.seed}")


@app.command()
def save(
    context: typer.Context,
    track_id: TrackId,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The file; its extension is the format.", dir_okay=False)
    ] = None,
) -> None:
    """Write a track to a file."""
    if out:
        check_file(out)
    client = client_of(context)
    track = client.tracks.get(track_id)
    if isinstance(track, SubmittedTrackAnswer):
        raise ProducerTwinError(f"{track_id} {_state(track)}: producer-twin tracks show {track_id}")
    path = out or Path(f"{track_id.replace(':', '_')}{Path(track.output_path).suffix}")
    with ProgressBar("downloading") as bar:
        client.tracks.save(track.output_path, path, bar.show_bytes)
    print_line(str(path))


@app.command()
def cancel(context: typer.Context, track_id: TrackId, json: Json = False) -> None:
    """Cancel a submitted track that is not made yet."""
    client = client_of(context)
    track = client.tracks.get(track_id)
    if isinstance(track, TrackAnswer):
        raise ProducerTwinError(f"{track_id} is made already: producer-twin tracks delete {track_id}")
    if track.state in ("failed", "cancelled"):
        raise ProducerTwinError(f"{track_id} {_state(track)}")
    client.tracks.delete(track_id)
    if json:
        print_json(client.tracks.get(track_id))
    else:
        print_line(f"{track_id} is cancelled")


@app.command()
def delete(
    context: typer.Context,
    track_id: TrackId,
    yes: Yes = False,
) -> None:
    """Delete a track; cancel one that is not made yet."""
    if not yes:
        typer.confirm(f"Delete track {track_id}?", abort=True, err=True)
    client_of(context).tracks.delete(track_id)
    print_line(f"{track_id} is deleted")


def _state(track: SubmittedTrackAnswer) -> str:
    match track.state:
        case "cancelled":
            return "was cancelled"
        case "failed":
            return f"failed: {track.error}"
    return "is not made yet"


def _shortened(text: str) -> str:
    return text if len(text) <= _MAX_SHOWN else f"{text[: _MAX_SHOWN - 1]}…"
