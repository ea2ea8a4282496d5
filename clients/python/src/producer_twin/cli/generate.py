"""`producer-twin generate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from producer_twin.cli import tracks
from producer_twin.cli.context import Json


def generate(
    context: typer.Context,
    prompt: tracks.Prompt,
    twin: tracks.Twins = None,
    out: tracks.Out = Path("track.wav"),
    seconds: Annotated[float | None, typer.Option("--seconds", "-s", help="The length.")] = None,
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
    temperature: tracks.Temperature = None,
    bit_depth: Annotated[str | None, typer.Option(help="Of WAV: 16, 24 or 32f; of FLAC: 16 or 24.")] = None,
    loudness: Annotated[float | None, typer.Option(help="The loudness in LUFS, such as -14.")] = None,
    loop: Annotated[bool, typer.Option("--loop", help="Cut to whole bars, to be repeated; needs a tempo.")] = False,
    json: Json = False,
) -> None:
    """Make a track, and write it to a file."""
    chosen = {
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
        "temperature": temperature,
        "bit_depth": bit_depth,
        "loudness": loudness,
        "loop": loop or None,
    }
    tracks.make(context, prompt, twin, out, json, chosen)
