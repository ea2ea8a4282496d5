"""`producer-twin jobs`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from producer_twin import Job
from producer_twin.cli.context import Json, Producer, Yes, client_of
from producer_twin.cli.output import day, print_fields, print_json, print_line, print_report, print_table
from producer_twin.cli.train import show_report
from producer_twin.cli.train import watch as watched

app = typer.Typer(help="List, follow, cancel, resume and delete trainings.", no_args_is_help=True)

JobId = Annotated[str, typer.Argument(metavar="JOB", help="The job's id, or its task's.")]


@app.command("list")
def list_all(
    context: typer.Context,
    producer: Producer = None,
    state: Annotated[str | None, typer.Option(help="In this state only.")] = None,
    json: Json = False,
) -> None:
    """List the trainings, the newest first."""
    found = client_of(context).jobs.list(producer_id=producer, state=state)
    if json:
        print_json(found)
    else:
        rows = [
            (each.job_id, each.lora_id, each.state, _steps(each), day(each.updated_at), each.error) for each in found
        ]
        print_table(("job", "twin", "state", "step", "changed", "error"), rows)


@app.command()
def show(context: typer.Context, job_id: JobId, json: Json = False) -> None:
    """Show a training."""
    _print(client_of(context).jobs.get(job_id), json)


@app.command()
def watch(context: typer.Context, job_id: JobId, json: Json = False) -> None:
    """Follow a training until it has ended."""
    job = watched(client_of(context).jobs.get(job_id))
    if json:
        print_json(job)
    else:
        show_report(job)
        print_line(f"{job.lora_id} is ready")


@app.command()
def cancel(context: typer.Context, job_id: JobId, json: Json = False) -> None:
    """Cancel a training; the twin so far is kept, marked partial."""
    _print(client_of(context).jobs.cancel(job_id), json)


@app.command()
def resume(context: typer.Context, job_id: JobId, json: Json = False) -> None:
    """Resume a training that failed or was cancelled, from its last checkpoint."""
    _print(client_of(context).jobs.resume(job_id), json)


@app.command()
def report(
    context: typer.Context,
    job_id: JobId,
    page: Annotated[
        Path | None, typer.Option(help="Write the report as a page with pictures and sounds.", dir_okay=False)
    ] = None,
    json: Json = False,
) -> None:
    """Show the verdict of a training's report; with --json the whole report."""
    client = client_of(context)
    found = client.jobs.report(job_id)
    if page:
        page.write_text(client.jobs.report_page(job_id), encoding="utf-8")
    if json:
        print_json(found)
    else:
        print_report(found)


@app.command()
def delete(
    context: typer.Context,
    job_id: JobId,
    yes: Yes = False,
) -> None:
    """Delete a training that has ended, with its dataset and report; its twin stays."""
    if not yes:
        typer.confirm(f"Delete job {job_id} with its dataset and report?", abort=True, err=True)
    client_of(context).jobs.delete(job_id)
    print_line(f"{job_id} is deleted")


def _print(job: Job, json: bool) -> None:
    if json:
        print_json(job)
    else:
        print_fields(job, exclude={"result", "previews", "progress"})


def _steps(job: Job) -> str:
    return f"{job.step or 0}/{job.total_steps}" if job.total_steps else ""
