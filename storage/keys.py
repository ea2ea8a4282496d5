"""The tree: every key as a function, what a key may be, and how it looks to clients.

Ids are taken as they are (contract.ID_PATTERN has been checked by then); upper and lower case differ.
"""

from __future__ import annotations

import unicodedata
from pathlib import PurePosixPath

from core.errors import Refusal
from core.text import printable
from core.text import shown as shown  # of keys and names, for those who import this module
from storage.base import BadKey

ROOT = "/data/"
MAX_KEY_BYTES = 1024
MAX_PART_BYTES = 255
MAX_FILENAME_BYTES = 200  # of a client's file name, so that there is room to put something before it


# What clients hand in.
def upload(producer: str, job: str, filename: str) -> str:
    return f"uploads/{producer}/{job}/{filename}"


def dataset_clip(producer: str, job: str, index: int, extension: str) -> str:
    """A file fetched from a URL; `extension` without its dot."""
    return f"datasets/{producer}/{job}/clip_{index:04d}.{extension}"


def dataset_record(producer: str, job: str) -> str:
    return f"datasets/{producer}/{job}/dataset.json"


# The producer's newest dataset, for people to look at.
def training_folder(producer: str) -> str:
    return f"training_data/{producer}/"


def training_audio(producer: str, number: int, extension: str = "wav") -> str:
    return f"training_data/{producer}/audio/seg_{number:04d}.{extension}"


def training_text(producer: str, stem: str) -> str:
    return f"training_data/{producer}/text/{stem}.txt"


def training_record(producer: str) -> str:
    return f"training_data/{producer}/dataset.json"


def training_turn(producer: str) -> str:
    """Whose turn it is to write the folder above; see preprocessing.training_folder."""
    return f"training_turns/{producer}.json"


# What a job trained on stays with the job. It is not beside the job's record, so that listing jobs is cheap.
def job_record(job: str) -> str:
    return f"jobs/{job}.json"


def open_job(job: str) -> str:
    """There while the job has not ended, so that open jobs are found without reading every record."""
    return f"open_jobs/{job}"


def job_of_task(task: str) -> str:
    """Names the job that a BentoML task carries out."""
    return f"tasks/{task}"


def job_slots() -> str:
    """Jobs that were admitted and are not open yet; see training.jobs.slots."""
    return "job_slots/admitted.json"


def job_audio(job: str, number: int, extension: str = "wav") -> str:
    return f"job_data/{job}/audio/seg_{number:04d}.{extension}"


def job_text(job: str, stem: str) -> str:
    return f"job_data/{job}/text/{stem}.txt"


def job_folders(job: str) -> tuple[str, ...]:
    """Where all lies that a job has beside its record."""
    return f"job_data/{job}/", f"job_runs/{job}/"


# What its training made beside the adapter.
def checkpoint(job: str) -> str:
    return f"job_runs/{job}/checkpoint.pt"


def report(job: str) -> str:
    return f"job_runs/{job}/report.json"


def report_page(job: str) -> str:
    return f"job_runs/{job}/report.html"


def preview(job: str, name: str) -> str:
    """A piece of music made while the twin was trained, or its picture; `name` with its extension."""
    return f"job_runs/{job}/previews/{name}"


def tensorboard(job: str, name: str) -> str:
    return f"job_runs/{job}/tensorboard/{name}"


def tag_cache(digest: str) -> str:
    """What was once heard in a segment; `digest` is of all that was asked, the sound included."""
    return f"tag_cache/{digest}.json"


# Who is served.
def api_keys() -> str:
    return "api_keys/"


def api_key(key: str) -> str:
    """What is known of an API key, by its id; see api.auth.keys."""
    return f"api_keys/{key}.json"


def access() -> str:
    return "access/"


def key_required() -> str:
    """There once there has been a key: from then on nobody is served without one."""
    return "access/key_required"


# What comes out.
def lora(producer: str, model: str) -> str:
    return f"loras/{producer}_{model}.safetensors"


def lora_owner(producer: str, model: str) -> str:
    """Says which twin the file name above belongs to, since `a_b` + `c` and `a` + `b_c` would share it, and which
    version of it was put there."""
    return f"lora_owners/{producer}_{model}"


def model(producer: str) -> str:
    return f"models/{producer}/adapter_model.safetensors"


def model_config(producer: str) -> str:
    return f"models/{producer}/adapter_config.json"


def producer_folders(producer: str) -> dict[str, str]:
    """Where a producer's objects lie, by their kind."""
    return {
        "uploads": f"uploads/{producer}/",
        "datasets": f"datasets/{producer}/",
        "training_data": training_folder(producer),
        "models": f"models/{producer}/",
        "lora_versions": lora_versions(producer),
        "outputs": f"outputs/twins/{producer}/",
    }


def lora_versions(producer: str, model: str | None = None) -> str:
    """The folder of every version that a twin, or a producer's twins, ever had."""
    return f"lora_versions/{producer}/{model}/" if model else f"lora_versions/{producer}/"


def lora_version(producer: str, model: str, version: str) -> str:
    return f"{lora_versions(producer, model)}{version}.safetensors"


def lora_deletions() -> str:
    """Written anew whenever a twin was deleted: its copies elsewhere are looked for then, and not all the time."""
    return "lora_deletions/latest"


def lora_turn(producer: str) -> str:
    """Whose turn it is to write a producer's twins: a version takes several objects."""
    return f"lora_turns/{producer}.json"


def output(producer: str | None, name: str, extension: str) -> str:
    """A generated track: a twin's, or the base model's where there is no producer."""
    return f"outputs/twins/{producer}/{name}.{extension}" if producer else f"outputs/base/{name}.{extension}"


def _fault(key: str, last_may_be_empty: bool = False) -> str | None:
    """What is wrong with a key, None if nothing is."""
    try:
        if len(key.encode()) > MAX_KEY_BYTES:
            return f"it is longer than {MAX_KEY_BYTES} bytes"
    except UnicodeEncodeError:
        return "it is not valid Unicode"
    if "\\" in key:
        return "it has a backslash"
    if any(unicodedata.category(character) == "Cc" for character in key):
        return "it has a control character"
    parts = key.split("/")
    if last_may_be_empty and not parts[-1]:
        parts.pop()
    for part in parts:
        if not part:
            return "a part of it is empty"
        if part.startswith("."):
            return "a part of it starts with a dot"
        if len(part.encode()) > MAX_PART_BYTES:
            return f"a part of it is longer than {MAX_PART_BYTES} bytes"
    return None


def is_key(key: str) -> bool:
    return _fault(key) is None


def check(key: str) -> str:
    """The key itself. Raises BadKey if it is not well-formed: this is what keeps keys inside the root."""
    if fault := _fault(key):
        raise BadKey(f"{key!r} is not a key: {fault}")
    return key


def check_prefix(prefix: str) -> str:
    """The same for what `Storage.list` takes: empty, or the beginning of a key."""
    if prefix and (fault := _fault(prefix, last_may_be_empty=True)):
        raise BadKey(f"{prefix!r} is not the beginning of a key: {fault}")
    return prefix


def to_path(key: str) -> str:
    """The path that clients know the key by."""
    return ROOT + check(key)


def from_path(path: str, field: str = "path") -> str:
    """The key of a client's path. Raises Refusal(400) naming `field` if it is not a path of the tree."""
    if not path.startswith(ROOT):
        raise Refusal(400, f"{field}: {shown(path)} is not a path in storage; it must start with {ROOT}")
    key = path.removeprefix(ROOT)
    if fault := _fault(key):
        raise Refusal(400, f"{field}: {shown(path)} is not a path in storage, as {fault}; send one that was answered")
    return key


def safe_filename(name: str, field: str = "filename") -> str:
    """The last part of a client's file name, of either slash kind, without what no key may have.

    Unprintable characters and leading dots go, and a stem that is too long is cut before its extension.
    Raises Refusal(400) naming `field` if nothing is left.
    """
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    safe = printable(last, "").strip().lstrip(". ")
    if not safe:
        raise Refusal(400, f"{field}: {shown(name)} has no usable file name; send one such as beat.wav")
    suffix = PurePosixPath(safe).suffix
    if len(suffix.encode()) > 32:
        suffix = ""
    room = MAX_FILENAME_BYTES - len(suffix.encode())
    stem = safe.removesuffix(suffix).encode()[:room].decode(errors="ignore")
    return stem + suffix
