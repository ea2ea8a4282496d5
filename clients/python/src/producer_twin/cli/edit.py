"""`producer-twin edit`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from producer_twin.cli import tracks
from producer_twin.cli.context import Json

_STORED = ("/data/outputs/", "/data/uploads/")
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


def edit(
    context: typer.Context,
    source: Annotated[str, typer.Argument(help="A file, or the path of a track or an upload of the service.")],
    prompt: tracks.Prompt,
    task: Annotated[Task, typer.Option("--task", help="What is made of the source.")],
    twin: tracks.Twins = None,
    out: tracks.Out = Path("track.wav"),
    start: Annotated[float | None, typer.Option(help="repaint, lego: from this second.")] = None,
    end: Annotated[float | None, typer.Option(help="repaint, lego: up to this second.")] = None,
    before: Annotated[float | None, typer.Option(help="extend: seconds to add before the source.")] = None,
    after: Annotated[float | None, typer.Option(help="extend: seconds to add after the source.")] = None,
    strength: Annotated[float | None, typer.Option(help="cover: the share of steps that follow the source.")] = None,
    noise_strength: Annotated[
        float | None, typer.Option(help="cover: from 0, from noise, to 1, from the source.")
    ] = None,
    injected_share: Annotated[
        float | None, typer.Option(help="repaint, extend: the share of steps that are held to the source.")
    ] = None,
    track: Annotated[
        list[str] | None, typer.Option("--track", help="complete, lego, extract: such as drums; several for complete.")
    ] = None,
    reference: Annotated[
        str | None, typer.Option(help="Its timbre is followed: a file, a path, or producer:<id> for their newest.")
    ] = None,
    seconds: Annotated[float | None, typer.Option("--seconds", "-s", help="melody: the length.")] = None,
    seed: tracks.Seed = None,
    scale: tracks.Scale = None,
    bpm: tracks.Bpm = None,
    key: tracks.Key = None,
    time_signature: tracks.TimeSignature = None,
    lyrics: tracks.Lyrics = None,
    language: tracks.Language = None,
    backend: tracks.BackendName = None,
    steps: tracks.Steps = None,
    guidance: tracks.Guidance = None,
    shift: tracks.Shift = None,
    json: Json = False,
) -> None:
    """Make a track from a recording, and write it to a file."""
    source_path, source_file = _recording(source, "SOURCE")
    reference_path, reference_file = _recording(reference, "--reference") if reference else (None, None)
    chosen = {
        "task": task.value,
        "source": source_path,
        "reference": reference_path,
        "start": start,
        "end": end,
        "before": before,
        "after": after,
        "strength": strength,
        "noise_strength": noise_strength,
        "injected_share": injected_share,
        "tracks": track or None,
        "duration_seconds": seconds,
        "seed": seed,
        "lora_scale": scale,
        "bpm": bpm,
        "key": key,
        "time_signature": time_signature,
        "lyrics": lyrics,
        "vocal_language": language,
        "backend_override": backend,
        "steps": steps,
        "guidance": guidance,
        "shift": shift,
    }
    files = {"source_file": source_file, "reference_file": reference_file}
    tracks.make(context, prompt, twin, out, json, chosen, files)


def _recording(name: str, argument: str) -> tuple[str | None, Path | None]:
    """The recording's path at the service, or the file on this machine."""
    if name.startswith(_STORED) or (argument == "--reference" and name.startswith(_OF_PRODUCER)):
        return name, None
    if not Path(name).is_file():
        raise typer.BadParameter(f"there is no file {name}", param_hint=argument)
    return None, Path(name)
