"""Options that several commands share: a dataclass whose fields become a command's options."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer


def with_option_groups(command: Callable[..., None]) -> Callable[..., None]:
    """The command, with an option for each field of those of its parameters that are dataclasses."""
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, type[Any]] = {}
    parameters = []
    for name, parameter in signature(command).parameters.items():
        if isinstance(hints[name], type) and is_dataclass(hints[name]):
            groups[name] = hints[name]
            parameters += _options(hints[name])
        else:
            parameters.append(parameter.replace(annotation=hints[name], kind=Parameter.KEYWORD_ONLY))

    @wraps(command)
    def run(**given: Any) -> None:
        for name, group in groups.items():
            given[name] = group(**{field.name: given.pop(field.name) for field in fields(group)})
        command(**given)

    run.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    return run


def _options(group: type[Any]) -> list[Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        Parameter(
            field.name,
            Parameter.KEYWORD_ONLY,
            default=Parameter.empty if field.default is MISSING else field.default,
            annotation=hints[field.name],
        )
        for field in fields(group)
    ]


@dataclass(frozen=True, kw_only=True)
class TrackOptions:
    """How a track sounds and is made. The names are those of the request's fields, but `twins`."""

    twins: Annotated[
        list[str] | None,
        typer.Option("--twin", "-t", metavar="PRODUCER:MODEL[=WEIGHT]", help="A twin; several are blended."),
    ] = None
    seed: Annotated[int | None, typer.Option(help="The same request and seed give the same track.")] = None
    lora_scale: Annotated[float | None, typer.Option("--scale", help="The strength of the twins, 0 to 2.")] = None
    bpm: Annotated[str | None, typer.Option(help="The tempo.")] = None
    key: Annotated[str | None, typer.Option(help="The musical key, such as Am.")] = None
    time_signature: Annotated[str | None, typer.Option(help="Such as 4/4.")] = None
    lyrics: Annotated[str | None, typer.Option(help="The words to sing.")] = None
    vocal_language: Annotated[str | None, typer.Option("--language", help="The language of the words, such as ja.")] = (
        None
    )
    backend_override: Annotated[
        str | None, typer.Option("--backend", help="The model; the twin's, or the default one, if left out.")
    ] = None
    steps: Annotated[int | None, typer.Option(help="Sampling steps.")] = None
    guidance: Annotated[float | None, typer.Option(help="How closely the prompt is followed.")] = None
    shift: Annotated[float | None, typer.Option(help="The shift of ACE-Step's timesteps.")] = None
    temperature: Annotated[float | None, typer.Option(help="The temperature of MusicGen's sampling.")] = None
    bit_depth: Annotated[str | None, typer.Option(help="Of WAV: 16, 24 or 32f; of FLAC: 16 or 24.")] = None
    loudness: Annotated[float | None, typer.Option(help="The loudness in LUFS, such as -14.")] = None


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """What becomes of the track: a file, or a track of the service that is asked for later."""

    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="The file; its extension is the format.  [default: track.wav]", dir_okay=False
        ),
    ] = None
    submit: Annotated[
        bool, typer.Option("--submit", help="Do not wait: print the track's id, for `tracks wait` and `tracks save`.")
    ] = False
    webhook: Annotated[
        str | None,
        typer.Option(metavar="URL", help="With --submit: an https URL that is told when the track has ended."),
    ] = None
    json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")] = False
