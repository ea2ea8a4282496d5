"""Train and generate from a shell, without a server.

python cli.py --task train --producer-id my_producer --paths a.wav,b.wav --paths "one, two.wav"
python cli.py --task resume --job-id <the id that an interrupted training printed>
python cli.py --task migrate --from /old/data
python cli.py --task generate --prompt "808 trap beat" --lora-id my_producer:nawfside_lora --duration 30
python cli.py --task import --paths audiocraft_checkpoint/ --out musicgen/    # then MUSICGEN_MODEL=musicgen/
"""

from __future__ import annotations

import asyncio
import io
import logging
import os
import secrets
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Never, TypeVar

import typer
from pydantic import BaseModel, ValidationError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from api.middleware.error_format import describe_validation
from contract import FORMATS, GenerateRequest, TrainRequest
from core.errors import Refusal
from core.plain_json import decode_object
from core.settings import settings
from core.text import printable
from preprocessing.decode import probe
from preprocessing.isolation import CHECK, DECODING, refusing
from storage import Damaged, NotFound, Storage, keys, open_storage, records

if TYPE_CHECKING:
    from training.jobs.admission import Admission
    from training.jobs.store import JobRecord


class Task(StrEnum):
    train = "train"
    resume = "resume"
    generate = "generate"
    migrate = "migrate"
    clean = "clean"
    import_ = "import"


console = Console(stderr=True)
T = TypeVar("T", bound=BaseModel)


def main(
    task: Annotated[Task, typer.Option(help="What to do.")],
    producer_id: Annotated[str | None, typer.Option(help="train: whose twin.")] = None,
    paths: Annotated[
        list[str] | None,
        typer.Option(
            help="train: audio files of this machine, separated by commas, or each with a --paths of its own where "
            "names have commas; import: audiocraft's folder."
        ),
    ] = None,
    model_name: Annotated[str | None, typer.Option(help="train: the twin's name.")] = None,
    max_steps: Annotated[int | None, typer.Option(help="train: how many steps, instead of the default.")] = None,
    job_id: Annotated[str | None, typer.Option(help="resume: the job that goes on.")] = None,
    prompt: Annotated[str | None, typer.Option(help="generate: what to play.")] = None,
    lora_id: Annotated[str | None, typer.Option(help="generate: a twin, producer_id:model_name.")] = None,
    duration: Annotated[float | None, typer.Option(help="generate: seconds.")] = None,
    bpm: Annotated[str | None, typer.Option(help="generate: the tempo.")] = None,
    key: Annotated[str | None, typer.Option(help="generate: the key, such as Am.")] = None,
    time_signature: Annotated[str | None, typer.Option(help="generate: such as 4/4.")] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed gives the same result.")] = None,
    backend: Annotated[str | None, typer.Option(help="ace_step or musicgen.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="generate: the file (track.wav); its extension is the format, and its folder is made. "
            "import: a new folder."
        ),
    ] = None,
    text_encoder: Annotated[
        str | None, typer.Option(help="import: a folder or hub id of the T5, if not the one that is named in there.")
    ] = None,
    source: Annotated[Path | None, typer.Option("--from", help="migrate: the /data folder to take over.")] = None,
) -> None:
    """Train a twin or resume it, generate a track, take a /data folder over, remove what is old, import a MusicGen."""
    logging.basicConfig(level=logging.WARNING)
    # A file's name may have what the terminal's encoding has not.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    storage = open_storage(settings().storage_url, settings().s3_endpoint_url)
    try:
        if task is Task.train:
            fields: dict[str, Any] = {
                "producer_id": producer_id,
                "model_name": model_name,
                "max_steps": max_steps,
                "seed": seed,
            }
            _train(storage, fields | {"backend_override": backend}, _files(paths))
        elif task is Task.resume:
            if not job_id:
                raise Refusal(400, "--job-id: name the job that is to go on")
            _work(storage, lambda admission: admission.resume(job_id))
        elif task is Task.migrate:
            _migrate(storage, source)
        elif task is Task.clean:
            _clean(storage)
        elif task is Task.import_:
            _import(paths, out, text_encoder)
        else:
            out = _here(out or "track.wav")
            fields = {"prompt": prompt, "lora_id": lora_id, "duration_seconds": duration, "seed": seed}
            music = {"bpm": bpm, "key": key, "time_signature": time_signature}
            output = {"output_format": _format_of(out), "backend_override": backend}
            _generate(storage, _parsed(GenerateRequest, fields | music | output), out)
    except Refusal as refusal:
        _end(refusal.message)


def _end(message: str) -> Never:
    _tell(message, "error:", "red")
    raise typer.Exit(1)


def _tell(message: str, label: str = "", style: str = "") -> None:
    """A line to people. What looks like markup or an emoji in a file's name is left as it is."""
    console.print(Text.assemble((f"{label} " if label else "", style), printable(message)), soft_wrap=True)


def _here(path: str | Path) -> Path:
    """A path of this machine, `~` resolved if there is such a user."""
    return Path(os.path.expanduser(path))


def _parsed(model: type[T], fields: dict[str, Any]) -> T:
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        details = error.errors(include_context=False, include_input=False)
        raise Refusal(400, describe_validation([dict(detail) for detail in details])) from None


def _files(paths: list[str] | None) -> list[Path]:
    files = [file for given in paths or [] for file in _named(given)]
    if not files:
        raise Refusal(400, "--paths: name the audio files, separated by commas")
    for file in files:
        if os.path.isdir(file):
            raise Refusal(400, f"--paths: {file} is a folder; name the files in it")
        if not os.path.isfile(file):
            raise Refusal(404, f"--paths: there is no file {file}; a name with commas needs a --paths of its own")
    return files


def _named(given: str) -> list[Path]:
    """The file of this name if there is one, whatever commas it has; else those between the commas."""
    whole = _here(given)
    if os.path.isfile(whole):
        return [whole]
    return [_here(path.strip()) for path in given.split(",") if path.strip()]


def _format_of(out: Path) -> str:
    """The format that a file's extension stands for."""
    extension = out.suffix.removeprefix(".").lower()
    output_format = "opus" if extension == "ogg" else extension
    if os.path.isdir(out):
        raise Refusal(400, f"--out: {out} is a folder; name a file, such as {out / 'track.wav'}")
    if output_format not in FORMATS:
        known = ", ".join(f".{each}" for each in FORMATS)
        raise Refusal(400, f'--out: there is no output_format "{extension}"; end the file\'s name in {known} or .ogg')
    return output_format


@contextmanager
def _to_be_written(out: Path) -> Iterator[None]:
    """Find out at once whether a file can be written, its folder made; leave no empty one where nothing comes of it."""
    there = os.path.lexists(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.open("ab").close()
    except OSError as error:
        raise Refusal(400, f"--out: {out} cannot be written: {error.strerror}; name another file") from None
    try:
        yield
    except BaseException:
        if not there:
            out.unlink(missing_ok=True)
        raise


def _train(storage: Storage, fields: dict[str, Any], files: list[Path]) -> None:
    """The files are stored as an upload would be, so that the twin can be trained again from them."""
    job_id = str(uuid.uuid4())
    names = [f"{number:02d}_{keys.safe_filename(file.name, '--paths')}" for number, file in enumerate(files)]
    producer_id = fields["producer_id"]
    sources = {"upload_paths": [f"/data/uploads/{producer_id}/{job_id}/{name}" for name in names], "job_id": job_id}
    request = _parsed(TrainRequest, fields | sources)
    for file in files:
        try:
            with refusing(f"--paths: {file}"):
                DECODING.call(CHECK, probe, file)
        except OSError as error:
            raise Refusal(400, f"--paths: {file} cannot be read: {error.strerror}") from error
    for name, file in zip(names, files, strict=True):
        storage.put_file(keys.upload(request.producer_id, job_id, name), file)

    _work(storage, lambda admission: admission.admit(request))


def _work(storage: Storage, take: Callable[[Admission], JobRecord]) -> None:
    """Carry out the job that `take` gets, here and now. Ctrl-C ends it within a step, and it can go on later."""
    from training.jobs.admission import Admission
    from training.jobs.cancellation import Stop
    from training.run import run  # seconds of imports, only for who gets here

    stop = Stop()
    stop.handle_signals()
    record = take(Admission(storage, settings()))
    if record.state != "queued":
        raise Refusal(409, f"--job-id: {record.job_id} is {record.state}, by another process")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[told]}"))
    with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
        bar = progress.add_task("queued", total=None, told="")

        def show(record: JobRecord) -> None:
            told = {"loss": record.loss, "held out": record.held_out_loss, "steps/s": record.steps_per_second}
            text = ", ".join(f"{name} {value:.4g}" for name, value in told.items() if value is not None)
            progress.update(
                bar, description=record.state, completed=record.step or 0, total=record.total_steps, told=text
            )

        record = run(record.job_id, record.attempt, storage, settings(), show, stop)
    _tell_report(storage, record)
    if record.state != "done" or record.result is None:
        _tell(f"go on with: python cli.py --task resume --job-id {record.job_id}")
        _end(f"job {record.job_id} {record.state}: {record.error}")
    print(record.result.model_dump_json(indent=2))


def _import(sources: list[str] | None, out: Path | None, text_encoder: str | None) -> None:
    if not sources or len(sources) > 1 or not out:
        _end("--paths: name the folder with state_dict.bin and compression_state_dict.bin, and with --out a new one")
    source, out = _here(sources[0]), _here(out)
    from models.checkpoints import CheckpointError  # seconds of imports, only for who gets here
    from models.musicgen.audiocraft import convert

    try:
        with console.status("importing"):
            convert(source, out, text_encoder)
    except CheckpointError as error:
        _end(str(error))
    print(printable(f"{out}: serve it with MUSICGEN_MODEL={out.resolve()}"))


def _tell_report(storage: Storage, record: JobRecord) -> None:
    try:
        report = records.read(storage, keys.report(record.job_id), lambda data, _: decode_object(data))[0]
    except NotFound:
        return
    except Damaged as error:
        console.print(f"[yellow]note:[/yellow] {error}", highlight=False)
        return
    for warning in (report["data"] or {}).get("warnings", []):
        _tell(warning, "note:", "yellow")
    if verdict := report["verdict"]:
        _tell(f"{verdict['sentence']} {verdict['advice']}", f"{verdict['verdict']}:", "bold")
    if report["complete"]:
        _tell(f"report: {keys.to_path(keys.report_page(record.job_id))} in storage")


def _generate(storage: Storage, request: GenerateRequest, out: Path) -> None:
    from adapters.library import Library
    from generation.outbox import Outbox, outbox_folder
    from generation.pipeline import Generation
    from runners.clients import Runners
    from runners.local import LocalRunners

    if request.seed is None:
        request = request.model_copy(update={"seed": secrets.randbelow(2**32)})
    with _to_be_written(out), console.status("generating"):
        outbox = Outbox(storage, settings().storage_url, outbox_folder())
        generation = Generation(Runners(LocalRunners(), settings()), Library(storage), outbox, settings())
        made = asyncio.run(generation.make(request, as_base64=False))
    try:
        out.write_bytes(made.file)
    except OSError as error:
        raise Refusal(507, f"--out: {out}: {error.strerror}; the track is stored as {made.path}") from None
    print(printable(f"{out}: {made.seconds:.1f} s by {made.backend}, seed {made.seed}, also stored as {made.path}"))


def _migrate(storage: Storage, source: Path | None) -> None:
    from adapters.library import Library
    from api.imports.migration import migrate
    from runners.clients import Runners
    from runners.local import LocalRunners

    if source is None:
        raise Refusal(400, "--from: name the folder to take over")
    with console.status("moving in"):
        library, runners = Library(storage), Runners(LocalRunners(), settings())
        moved = asyncio.run(migrate(_here(source), storage, library, runners, settings()))
    for folder, count in moved.count.items():
        print(printable(f"{folder}: {count} files copied"))
    for path, lora_id in moved.twins.items():
        print(printable(f"{path}: is now the twin {lora_id}"))
    if moved.there:
        print(f"{moved.there} were here already")
    for path, reason in moved.skipped.items():
        print(printable(f"{path}: skipped, {reason}"))


def _clean(storage: Storage) -> None:
    from training.jobs.retention import clean
    from training.jobs.store import Jobs

    gone = clean(storage, Jobs(storage), settings())
    print("; ".join(f"{kind}: {count} removed" for kind, count in gone.items()) or "there was nothing to remove")


if __name__ == "__main__":
    typer.run(main)
