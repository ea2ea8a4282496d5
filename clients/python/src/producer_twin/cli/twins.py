"""`producer-twin twins`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from producer_twin.cli.context import Json, Producer, Yes, client_of
from producer_twin.cli.output import day, print_fields, print_json, print_line, print_report, print_table, say
from producer_twin.cli.train import show_report, watch
from producer_twin.requests import RetrainOptions

app = typer.Typer(help="List, inspect, import, export, roll back, train again and delete twins.", no_args_is_help=True)

LoraId = Annotated[str, typer.Argument(metavar="PRODUCER:MODEL", help="The twin.")]


@app.command("list")
def list_all(context: typer.Context, producer: Producer = None, json: Json = False) -> None:
    """List the twins."""
    found = client_of(context).twins.list(producer_id=producer)
    if json:
        print_json(found)
    else:
        rows = [(twin.lora_id, twin.backend, twin.version, day(twin.created_at), twin.reason) for twin in found]
        print_table(("twin", "backend", "version", "made", "note"), rows)


@app.command()
def show(context: typer.Context, lora_id: LoraId, json: Json = False) -> None:
    """Show a twin."""
    twin = client_of(context).twins.get(lora_id)
    if json:
        print_json(twin)
    else:
        print_fields(twin)


@app.command()
def report(context: typer.Context, lora_id: LoraId, json: Json = False) -> None:
    """Show the verdict of a twin's report; with --json the whole report."""
    found = client_of(context).twins.get(lora_id).report()
    if json:
        print_json(found)
    else:
        print_report(found)


@app.command()
def versions(context: typer.Context, lora_id: LoraId, json: Json = False) -> None:
    """List the versions of a twin, the newest first."""
    found = client_of(context).twins.versions(lora_id)
    if json:
        print_json(found)
    else:
        rows = [
            (row.version, day(row.created_at), row.job_id, "current" if row.current else row.partial) for row in found
        ]
        print_table(("version", "made", "job", "note"), rows)


@app.command()
def rollback(
    context: typer.Context,
    lora_id: LoraId,
    version: Annotated[str, typer.Argument(help="As `versions` lists it.")],
    json: Json = False,
) -> None:
    """Make another version of a twin the current one."""
    twin = client_of(context).twins.roll_back(lora_id, version)
    if json:
        print_json(twin)
    else:
        print_line(f"{twin.lora_id} is {twin.version} now")


@app.command()
def retrain(
    context: typer.Context,
    lora_id: LoraId,
    max_steps: Annotated[int | None, typer.Option(help="That of the previous training if left out.")] = None,
    seed: Annotated[int | None, typer.Option(help="That of the previous training if left out.")] = None,
    wait: Annotated[bool, typer.Option(help="Wait until the twin is ready.")] = True,
    json: Json = False,
) -> None:
    """Train a twin again on its dataset, on the checkpoint that is served now."""
    client = client_of(context)
    options: RetrainOptions = {"max_steps": max_steps, "seed": seed}
    job = client.jobs.get(client.twins.retrain(lora_id, **options).job_id)
    if wait:
        job = watch(job)
        if not json:
            show_report(job)
    if json:
        print_json(job)
    else:
        print_line(f"{job.lora_id} is ready" if wait else job.job_id)


@app.command("import")
def import_adapter(
    context: typer.Context,
    lora_id: Annotated[str, typer.Argument(metavar="PRODUCER:MODEL", help="The new twin.")],
    adapter: Annotated[Path, typer.Argument(help="The file, or a zip of its folder.", exists=True, dir_okay=False)],
    config: Annotated[
        Path | None, typer.Option(help="The adapter_config.json beside the file.", exists=True, dir_okay=False)
    ] = None,
    backend: Annotated[str | None, typer.Option(help="The model that it is for; found from the file.")] = None,
    json: Json = False,
) -> None:
    """Import an adapter that was made elsewhere as a twin."""
    producer, colon, model = lora_id.partition(":")
    if not colon:
        raise typer.BadParameter(f"{lora_id}: write producer:model")
    twin = client_of(context).twins.import_adapter(producer, model, adapter, config, backend=backend)
    if json:
        print_json(twin)
        return
    for note in twin.notes:
        say(note, "note:", "yellow")
    print_line(f"{twin.lora_id} is a twin for {twin.backend}")


@app.command()
def export(
    context: typer.Context,
    lora_id: LoraId,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The file.", dir_okay=False)] = None,
    version: Annotated[str | None, typer.Option(help="A version other than the current one.")] = None,
) -> None:
    """Write a twin's adapter file."""
    path = out or Path(f"{lora_id.replace(':', '_')}.safetensors")
    print_line(str(client_of(context).twins.export(lora_id, path, version=version)))


@app.command()
def delete(
    context: typer.Context,
    lora_id: LoraId,
    yes: Yes = False,
) -> None:
    """Delete a twin with all its versions."""
    if not yes:
        typer.confirm(f"Delete {lora_id} with all its versions?", abort=True, err=True)
    client_of(context).twins.delete(lora_id)
    print_line(f"{lora_id} is deleted")
