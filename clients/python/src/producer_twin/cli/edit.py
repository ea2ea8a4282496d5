"""`producer-twin edit`."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from producer_twin.cli import making
from producer_twin.cli.context import client_of
from producer_twin.cli.options import Delivery, TrackOptions, with_option_groups
from producer_twin.cli.output import ProgressBar

# What the service knows: the path of a track or an upload, a track's id, a producer's newest upload.
_STORED = re.compile(r"/data/(outputs|uploads)/|(base|twins|made):")
_OF_PRODUCER = "producer:"


class Task(StrEnum):
    """How a track comes about from a recording."""

    repaint = "repaint"
    extend = "extend"
    cover = "cover"
    complete = "complete"
    lego = "lego"
    extract = "extract"
    melody = "melody"


@dataclass(frozen=True, kw_only=True)
class EditOptions:
    """The kinds of edits, named as the request's fields."""

    task: Annotated[Task, typer.Option("--task", help="What is made of the source.")]
    start: Annotated[float | None, typer.Option(help="repaint, lego: from this second.")] = None
    end: Annotated[float | None, typer.Option(help="repaint, lego: up to this second.")] = None
    before: Annotated[float | None, typer.Option(help="extend: seconds to add before the source.")] = None
    after: Annotated[float | None, typer.Option(help="extend: seconds to add after the source.")] = None
    strength: Annotated[float | None, typer.Option(help="cover: the share of steps that follow the source.")] = None
    noise_strength: Annotated[float | None, typer.Option(help="cover: from 0, from noise, to 1, from the source.")] = (
        None
    )
    injected_share: Annotated[
        float | None, typer.Option(help="repaint, extend: the share of steps that are held to the source.")
    ] = None
    tracks: Annotated[
        list[str] | None, typer.Option("--track", help="complete, lego, extract: such as drums; several for complete.")
    ] = None
    duration_seconds: Annotated[float | None, typer.Option("--seconds", "-s", help="melody: the length.")] = None


@with_option_groups
def edit(
    context: typer.Context,
    source: Annotated[str, typer.Argument(help="A file, or a track's id or the path of an upload of the service.")],
    prompt: Annotated[str, typer.Argument(help="A description of the music.")],
    edits: EditOptions,
    options: TrackOptions,
    delivery: Delivery,
    reference: Annotated[
        str | None,
        typer.Option(help="Its timbre is followed: a file, an id, a path, or producer:<id> for their newest upload."),
    ] = None,
    producer: Annotated[
        str | None, typer.Option("--producer", "-p", help="With --submit: files are kept as uploads of this producer.")
    ] = None,
) -> None:
    """Make a track from a recording, and write it to a file."""
    stored: dict[str, str | None] = {}
    files: dict[str, Path] = {}
    for field, name, hint in (("source", source, "SOURCE"), ("reference", reference, "--reference")):
        if name is None or _STORED.match(name) or (field == "reference" and name.startswith(_OF_PRODUCER)):
            stored[field] = name
        elif Path(name).is_file():
            files[field] = Path(name)
        else:
            raise typer.BadParameter(f"there is no file {name}", param_hint=hint)
    own = asdict(edits) | {"tracks": edits.tracks or None}
    if delivery.submit:
        making.check_has_no_file(delivery)
        stored |= _uploaded(context, producer, files)
        making.submit(context, prompt, options, own | stored, delivery)
    else:
        making.make(context, prompt, options, own | stored, delivery, files)


def _uploaded(context: typer.Context, producer: str | None, files: dict[str, Path]) -> dict[str, str]:
    """Send the files. Returns their paths at the service, by the names of their fields."""
    if not files:
        return {}
    if producer is None:
        listed = " and ".join(str(path) for path in files.values())
        raise typer.BadParameter(
            f"with --submit, {listed} has to be kept by the service: name the producer whose upload it becomes",
            param_hint="--producer",
        )
    client = client_of(context)
    with ProgressBar("uploading") as bar:
        return {
            field: client.uploads.upload(producer, path, on_progress=bar.show_bytes).path
            for field, path in files.items()
        }
