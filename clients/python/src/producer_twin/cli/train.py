"""`producer-twin train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from producer_twin import ApiError, Job
from producer_twin.cli.context import Json, client_of
from producer_twin.cli.output import ProgressBar, print_json, print_line, print_report, say
from producer_twin.requests import TrainOptions


def train(
    context: typer.Context,
    files: Annotated[
        list[Path],
        typer.Argument(help="Audio files of one producer.", exists=True, dir_okay=False, readable=True),
    ],
    producer: Annotated[str, typer.Option("--producer", "-p", help="The producer's id.")],
    model: Annotated[str | None, typer.Option("--model", "-m", help="The twin's name.")] = None,
    max_steps: Annotated[int | None, typer.Option(help="Steps; what suits the music if left out.")] = None,
    rank: Annotated[int | None, typer.Option(help="The adapter's rank; what suits the model if left out.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="What suits the model if left out.")] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed gives the same twin.")] = None,
    backend: Annotated[str | None, typer.Option(help="The model; the default one if left out.")] = None,
    job_id: Annotated[str | None, typer.Option(help="The same id with the same request is the same job.")] = None,
    rights_confirmed: Annotated[
        bool, typer.Option("--rights-confirmed", help="You confirm the right to train on the music.")
    ] = False,
    wait: Annotated[bool, typer.Option(help="Wait until the twin is ready.")] = True,
    json: Json = False,
) -> None:
    """Send audio files and train a twin on them."""
    client = client_of(context)
    chosen = {
        "model_name": model,
        "max_steps": max_steps,
        "rank": rank,
        "learning_rate": learning_rate,
        "seed": seed,
        "backend_override": backend,
        "job_id": job_id,
        "rights_confirmed": rights_confirmed or None,
    }
    options: TrainOptions = {name: value for name, value in chosen.items() if value is not None}  # type: ignore[assignment]
    with ProgressBar("uploading") as bar:
        job = client.train(producer, files, on_upload=bar.show_bytes, **options)
    if wait:
        job = watch(job)
        if not json:
            show_report(job)
    if json:
        print_json(job)
    else:
        print_line(f"{job.lora_id} is ready" if wait else job.job_id)


def watch(job: Job) -> Job:
    """Show the job until it is done. Raises JobFailed."""
    try:
        with ProgressBar(job.state) as bar:
            return job.wait(bar.show_job)
    except KeyboardInterrupt:
        say(f"the training goes on: producer-twin jobs watch {job.job_id}")
        raise


def show_report(job: Job) -> None:
    """Print the verdict, if the job has a report."""
    try:
        print_report(job.report())
    except ApiError as error:
        if error.status != 404:
            raise
