"""Train and generate from a shell, without a server.

python cli.py --task train --producer-id my_producer --paths a.wav,b.wav --paths "one, two.wav"
python cli.py --task resume --job-id <the id that an interrupted training printed>
python cli.py --task migrate --from /old/data
python cli.py --task generate --prompt "808 trap beat" --lora-id my_producer:nawfside_lora --duration 30
python cli.py --task clean
python cli.py --task doctor                          # check the machine and the checkpoints of the settings
python cli.py --task claim --producer-id my_producer --owner <the user's id at AUTH_ISSUER>
python cli.py --task import --paths audiocraft_checkpoint/ --out musicgen/    # then MUSICGEN_MODEL=musicgen/
"""

from __future__ import annotations

import asyncio
import io
import logging
import os
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from contract import FORMATS, ID_RULE, GenerateRequest, TrainRequest, is_id, is_subject
from contract.validation import validated
from core.errors import Refusal
from core.plain_json import decode_object
from core.settings import settings
from core.text import printable
from preprocessing.decode import probe
from preprocessing.isolation import CHECK, DECODING, refusing
from storage import Damaged, NotFound, Storage, keys, open_storage, records

# Modules that take seconds to import are imported by the tasks that need them.
if TYPE_CHECKING:
    from adapters.library import Library
    from runners.clients import Runners
    from training.jobs.admission import Admission
    from training.jobs.record import JobRecord

console = Console(stderr=True)  # results go to stdout, everything else to stderr


class Task(StrEnum):
    train = "train"
    resume = "resume"
    generate = "generate"
    migrate = "migrate"
    clean = "clean"
    claim = "claim"
    import_ = "import"
    doctor = "doctor"


def main(
    task: Annotated[Task, typer.Option(help="What to do.")],
    producer_id: Annotated[str | None, typer.Option(help="train, claim: the producer's id.")] = None,
    paths: Annotated[
        list[str] | None,
        typer.Option(
            help="train: audio files of this machine, separated by commas, or each with a --paths of its own where "
            "names have commas; import: audiocraft's folder."
        ),
    ] = None,
    model_name: Annotated[str | None, typer.Option(help="train: the twin's name.")] = None,
    max_steps: Annotated[int | None, typer.Option(help="train: the number of steps, instead of the default.")] = None,
    job_id: Annotated[str | None, typer.Option(help="resume: the job to go on with.")] = None,
    prompt: Annotated[str | None, typer.Option(help="generate: a description of the music.")] = None,
    lora_id: Annotated[str | None, typer.Option(help="generate: a twin, producer_id:model_name.")] = None,
    duration: Annotated[float | None, typer.Option(help="generate: the length in seconds.")] = None,
    bpm: Annotated[str | None, typer.Option(help="generate: the tempo.")] = None,
    key: Annotated[str | None, typer.Option(help="generate: the key, such as Am.")] = None,
    time_signature: Annotated[str | None, typer.Option(help="generate: such as 4/4.")] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed gives the same result.")] = None,
    backend: Annotated[str | None, typer.Option(help="ace_step or musicgen.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="generate: the file (track.wav); its extension is the format, and its folder is track. "
            "import: a new folder; doctor: the folder of its pages (build/doctor)."
        ),
    ] = None,
    text_encoder: Annotated[
        str | None, typer.Option(help="import: a folder or hub id of the T5, if not the one that is named in there.")
    ] = None,
    owner: Annotated[
        str | None, typer.Option(help="claim: the user who is to own the producer, as the claim `sub` names them.")
    ] = None,
    source: Annotated[Path | None, typer.Option("--from", help="migrate: the /data folder to take over.")] = None,
) -> None:
    """Train or resume a twin, generate a track, migrate a /data folder, remove old files, give a producer an owner,
    import a MusicGen, or check the machine."""
    logging.basicConfig(level=logging.WARNING)
    # A file's name may contain characters that the terminal's encoding lacks.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    storage = open_storage(settings().storage_url, settings().s3_endpoint_url)
    common = {"seed": seed, "backend_override": backend}
    try:
        match task:
            case Task.train:
                train(storage, paths, producer_id=producer_id, model_name=model_name, max_steps=max_steps, **common)
            case Task.resume:
                resume(storage, job_id)
            case Task.generate:
                music = {"bpm": bpm, "key": key, "time_signature": time_signature}
                generate(storage, out, prompt=prompt, lora_id=lora_id, duration_seconds=duration, **music, **common)
            case Task.migrate:
                migrate(storage, source)
            case Task.clean:
                clean(storage)
            case Task.claim:
                claim(storage, producer_id, owner)
            case Task.import_:
                import_musicgen(paths, out, text_encoder)
            case Task.doctor:
                doctor(out, backend)
    except Refusal as refusal:
        say(refusal.message, "error:", "red")
        raise typer.Exit(1) from None


# The tasks.


def train(storage: Storage, paths: list[str] | None, **fields: Any) -> None:
    """Store the files as uploads, so that the twin can be trained again from them, and train a twin on them."""
    files = audio_files(paths)
    job_id = str(uuid.uuid4())
    names = [f"{number:02d}_{keys.safe_filename(file.name, '--paths')}" for number, file in enumerate(files)]
    uploads = [f"/data/uploads/{fields['producer_id']}/{job_id}/{name}" for name in names]
    request = validated(TrainRequest, fields | {"upload_paths": uploads, "job_id": job_id})
    for file in files:
        try:
            with refusing(f"--paths: {file}"):
                DECODING.call(CHECK, probe, file)
        except OSError as error:
            raise Refusal(400, f"--paths: {file} cannot be read: {error.strerror}") from error
    for name, file in zip(names, files, strict=True):
        storage.put_file(keys.upload(request.producer_id, job_id, name), file)
    run_job(storage, lambda admission: admission.admit(request))


def resume(storage: Storage, job_id: str | None) -> None:
    if not job_id:
        raise Refusal(400, "--job-id: name the job that is to go on")
    run_job(storage, lambda admission: admission.resume(job_id))


def run_job(storage: Storage, admit: Callable[[Admission], JobRecord]) -> None:
    """Run the job that `admit` returns in this process. Ctrl-C stops it after the current step; it can be resumed."""
    from training.jobs.admission import Admission
    from training.jobs.cancellation import Stop
    from training.run import run

    stop = Stop()
    stop.handle_signals()
    record = admit(Admission(storage, settings()))
    if record.state != "queued":
        raise Refusal(409, f"--job-id: {record.job_id} is {record.state}, by another process")
    with job_progress() as show:
        record = run(record.job_id, record.attempt, storage, settings(), show, stop)
    say_report(storage, record.job_id)
    if record.state != "done" or record.result is None:
        say(f"go on with: python cli.py --task resume --job-id {record.job_id}")
        raise Refusal(500, f"job {record.job_id} {record.state}: {record.error}")
    print(record.result.model_dump_json(indent=2))


def generate(storage: Storage, out: Path | None, **fields: Any) -> None:
    from generation.outbox import Outbox, outbox_folder
    from generation.pipeline import Generation

    out = expand(out or "track.wav")
    request = validated(GenerateRequest, fields | {"output_format": output_format(out)})
    with writable(out), console.status("generating"):
        library, runners = library_and_runners(storage)
        outbox = Outbox(storage, settings().storage_url, outbox_folder())
        track = asyncio.run(Generation(runners, library, outbox, settings()).generate(request, as_base64=False))
    try:
        out.write_bytes(track.file)
    except OSError as error:
        raise Refusal(507, f"--out: {out}: {error.strerror}; the track is stored as {track.path}") from None
    print(printable(f"{out}: {track.seconds:.1f} s by {track.backend}, seed {track.seed}, also stored as {track.path}"))


def migrate(storage: Storage, source: Path | None) -> None:
    from api.imports import migration

    if source is None:
        raise Refusal(400, "--from: name the folder to take over")
    with console.status("moving in"):
        moved = asyncio.run(migration.migrate(expand(source), storage, *library_and_runners(storage), settings()))
    for folder, count in moved.copied.items():
        print(printable(f"{folder}: {count} files copied"))
    for path, lora_id in moved.twins.items():
        print(printable(f"{path}: is now the twin {lora_id}"))
    if moved.already_there:
        print(f"{moved.already_there} were here already")
    for path, reason in moved.skipped.items():
        print(printable(f"{path}: skipped, {reason}"))


def clean(storage: Storage) -> None:
    from generation.outbox import Outbox, outbox_folder
    from training.jobs import retention
    from training.jobs.store import Jobs

    outbox = Outbox(storage, settings().storage_url, outbox_folder())
    removed = retention.clean(storage, Jobs(storage), settings(), outbox.delete)
    print("; ".join(f"{kind}: {count} removed" for kind, count in removed.items()) or "there was nothing to remove")


def claim(storage: Storage, producer: str | None, subject: str | None) -> None:
    """Make a user the owner of a producer in place of any earlier one."""
    from storage.producers import Owner, Producers

    issuer = settings().auth_issuer
    if issuer is None:
        raise Refusal(400, "AUTH_ISSUER: set it to the issuer of the user's tokens, as the service has it")
    if producer is None or not is_id(producer):
        raise Refusal(400, f"--producer-id: it must be {ID_RULE}")
    if not subject or not is_subject(subject):
        raise Refusal(400, "--owner: name the user as the claim sub of their tokens does")
    Producers(storage).assign(producer, Owner(issuer, subject))
    print(f"{producer} is now {subject}'s")


def import_musicgen(paths: list[str] | None, out: Path | None, text_encoder: str | None) -> None:
    if not paths or len(paths) > 1 or not out:
        raise Refusal(
            400, "--paths: name the folder with state_dict.bin and compression_state_dict.bin, and with --out a new one"
        )
    source, out = expand(paths[0]), expand(out)
    from models.checkpoints import CheckpointError
    from models.musicgen.audiocraft import convert

    try:
        with console.status("importing"):
            convert(source, out, text_encoder)
    except CheckpointError as error:
        raise Refusal(400, str(error)) from None
    print(printable(f"{out}: serve it with MUSICGEN_MODEL={out.resolve()}"))


def doctor(out: Path | None, backend: str | None) -> None:
    """Make the checks of docs/gpu.md with the checkpoints of the settings, or with that of one backend."""
    from models.checkpoints import CheckpointError
    from runners import TABLE
    from verification.command import MINUTES, verify

    config = settings()
    names = [TABLE.choose(backend, config).name] if backend else list(TABLE.enabled(config))
    failed = []
    for name in names:
        checkpoint, folder = TABLE[name].checkpoint_name(config), expand(out or Path("build") / "doctor") / name
        try:
            status = verify(name, checkpoint, config.device, config.dtype, MINUTES * 60, folder)
        except (CheckpointError, ValueError) as error:
            raise Refusal(400, str(error)) from None
        failed += [name] if status else []
    if failed:
        raise Refusal(500, f"{', '.join(failed)}: a check failed; its page says what to do")


def library_and_runners(storage: Storage) -> tuple[Library, Runners]:
    """The twins in storage, and the backends, which load their models into this process."""
    from adapters.library import Library
    from runners.clients import Runners
    from runners.local import LocalRunners

    return Library(storage), Runners(LocalRunners(), settings())


# Options.


def expand(path: str | Path) -> Path:
    """The path with `~` replaced by the home folder. An unknown user's is left as it is, where pathlib would raise."""
    return Path(os.path.expanduser(path))


def audio_files(paths: list[str] | None) -> list[Path]:
    """The files that --paths names, all of which exist."""
    files = [file for value in paths or [] for file in split(value)]
    if not files:
        raise Refusal(400, "--paths: name the audio files, separated by commas")
    for file in files:
        if os.path.isdir(file):
            raise Refusal(400, f"--paths: {file} is a folder; name the files in it")
        if not os.path.isfile(file):
            raise Refusal(404, f"--paths: there is no file {file}; a name with commas needs a --paths of its own")
    return files


def split(value: str) -> list[Path]:
    """The file with this name if it exists, as a name may contain commas; else the files between the commas."""
    whole = expand(value)
    if os.path.isfile(whole):
        return [whole]
    return [expand(path.strip()) for path in value.split(",") if path.strip()]


def output_format(out: Path) -> str:
    """The `output_format` that the file's extension names."""
    extension = out.suffix.removeprefix(".").lower()
    if os.path.isdir(out):
        raise Refusal(400, f"--out: {out} is a folder; name a file, such as {out / 'track.wav'}")
    name = "opus" if extension == "ogg" else extension
    if name not in FORMATS:
        known = ", ".join(f".{each}" for each in FORMATS)
        raise Refusal(400, f'--out: there is no output_format "{extension}"; end the file\'s name in {known} or .ogg')
    return name


@contextmanager
def writable(out: Path) -> Iterator[None]:
    """Refuse before the block if the file cannot be written, and remove the new, empty file if the block fails."""
    existed = os.path.lexists(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.open("ab").close()
    except OSError as error:
        raise Refusal(400, f"--out: {out} cannot be written: {error.strerror}; name another file") from None
    try:
        yield
    except BaseException:
        if not existed:
            out.unlink(missing_ok=True)
        raise


# Messages.


def say(message: str, label: str = "", style: str = "") -> None:
    """Print a line to stderr. Text objects keep rich from reading markup and emoji in a file's name."""
    console.print(Text.assemble((f"{label} " if label else "", style), printable(message)), soft_wrap=True)


@contextmanager
def job_progress() -> Iterator[Callable[[JobRecord], None]]:
    """A progress bar, and the function that shows a job's record in it."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[figures]}"),
    )
    with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
        bar = progress.add_task("queued", total=None, figures="")

        def show(record: JobRecord) -> None:
            known = {"loss": record.loss, "held out": record.held_out_loss, "steps/s": record.steps_per_second}
            progress.update(
                bar,
                description=record.state,
                completed=record.step or 0,
                total=record.total_steps,
                figures=", ".join(f"{name} {value:.4g}" for name, value in known.items() if value is not None),
            )

        yield show


def say_report(storage: Storage, job_id: str) -> None:
    """Print the warnings and the verdict of a job's report, if there is one."""
    try:
        report = records.read(storage, keys.report(job_id), lambda data, _: decode_object(data))[0]
    except NotFound:
        return
    except Damaged as error:
        say(str(error), "note:", "yellow")
        return
    for warning in (report["data"] or {}).get("warnings", []):
        say(warning, "note:", "yellow")
    if verdict := report["verdict"]:
        say(f"{verdict['sentence']} {verdict['advice']}", f"{verdict['verdict']}:", "bold")
    if report["complete"]:
        say(f"report: {keys.to_path(keys.report_page(job_id))} in storage")


if __name__ == "__main__":
    typer.run(main)
