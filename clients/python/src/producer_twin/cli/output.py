"""Results go to stdout; messages and progress go to stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Self

from pydantic import BaseModel
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Table
from rich.text import Text

from producer_twin import Job
from producer_twin.models import QueueAnswer, ReportAnswer, SubmittedTrackAnswer

messages = Console(stderr=True)
# A program that reads a table has no lines of limited length.
_PIPED_WIDTH = 10_000


def printable(text: str) -> str:
    """The text without characters that would control the terminal."""
    return "".join(each if each.isprintable() else "?" for each in text)


def say(message: str, label: str = "", style: str = "") -> None:
    """Print a line to stderr. `Text` keeps rich from reading markup and emoji in names."""
    messages.print(Text.assemble((f"{label} " if label else "", style), printable(message)), soft_wrap=True)


def print_line(text: str) -> None:
    sys.stdout.write(printable(text) + "\n")


def print_json(answer: BaseModel | Sequence[BaseModel] | dict[str, Any]) -> None:
    document: Any = answer
    if isinstance(answer, BaseModel):
        document = answer.model_dump(mode="json")
    elif not isinstance(answer, dict):
        document = [each.model_dump(mode="json") for each in answer]
    text = json.dumps(document, indent=2, ensure_ascii=False)
    # JSON need not escape all that controls a terminal.
    sys.stdout.write("".join(each if each.isprintable() or each == "\n" else json.dumps(each)[1:-1] for each in text))
    sys.stdout.write("\n")


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows with a headline; None is an empty cell."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, column in enumerate(columns):
        table.add_column(column, overflow="fold", no_wrap=number == 0)  # an id is to be copied
    for row in rows:
        table.add_row(*(Text(printable("" if cell is None else str(cell))) for cell in row))
    console = Console()
    (console if console.is_terminal else Console(width=_PIPED_WIDTH)).print(table)


def print_fields(answer: BaseModel, exclude: set[str] | None = None) -> None:
    """Print the fields of an answer, one a line."""
    print_table(("field", "value"), list(answer.model_dump(mode="json", exclude=exclude).items()))


def day(time: datetime) -> str:
    """The time in the machine's zone, to the minute."""
    return f"{time.astimezone():%Y-%m-%d %H:%M}"


def print_report(report: ReportAnswer) -> None:
    """Print the verdict of a report, and its warnings."""
    data = (report.model_extra or {}).get("data") or {}
    for warning in data.get("warnings", []):
        say(warning, "note:", "yellow")
    if report.verdict:
        print_line(f"{report.verdict.verdict}: {report.verdict.sentence} {report.verdict.advice}")
    else:
        print_line("the report has no verdict yet")


class ProgressBar:
    """A progress bar on stderr. Where that is no terminal, a line for each new state."""

    def __init__(self, description: str) -> None:
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[figures]}", markup=False),
        )
        self._progress = Progress(*columns, console=messages, disable=not messages.is_terminal, transient=True)
        self._bar: TaskID = self._progress.add_task(description, total=None, figures="")
        self._description = description
        self._said: str | None = None

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()

    def show(self, description: str, done: float | None, total: float | None, figures: str) -> None:
        description, figures = printable(description), printable(figures)
        self._progress.update(self._bar, description=description, completed=done or 0, total=total, figures=figures)
        if self._progress.disable and description != self._said:
            self._said = description
            say(description + (f": {figures}" if figures else ""))

    def show_bytes(self, done: int, total: int | None) -> None:
        """Show how much of the files has been sent or received."""
        self.show(self._description, done, total, f"{done / 2**20:.1f} MB")

    def show_job(self, job: Job) -> None:
        """Show a training: its step, loss and time left."""
        left = seconds_left(job.seconds_left)
        if job.state == "queued" and job.queue_position:
            self.show("queued", None, None, f"number {job.queue_position} in the queue")
        elif job.progress:
            stage = job.progress
            figures = [f"{stage.done}/{stage.total} {stage.unit}", left]
            self.show(stage.stage, stage.done, stage.total, ", ".join(filter(None, figures)))
        else:
            figures = [
                f"step {job.step or 0}/{job.total_steps}" if job.total_steps else "",
                f"loss {job.loss:.4g}" if job.loss is not None else "",
                f"held out {job.held_out_loss:.4g}" if job.held_out_loss is not None else "",
                left,
            ]
            self.show(job.state, job.step, job.total_steps, ", ".join(filter(None, figures)))

    def show_track(self, track: QueueAnswer | SubmittedTrackAnswer) -> None:
        """Show a track: its place in the queue, then how much of it is made."""
        ahead = f"{track.ahead} ahead" if track.ahead else ""
        figures = ", ".join(filter(None, (ahead, seconds_left(track.seconds_left))))
        self.show(track.state, track.progress, 1.0, figures)


def seconds_left(seconds: float | None) -> str:
    """The time in words, such as `2 min left`; empty if it is unknown."""
    if seconds is None:
        return ""
    return f"{seconds:.0f} s left" if seconds < 120 else f"{seconds / 60:.0f} min left"
