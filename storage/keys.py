"""The tree of keys: a function for every key, the rules for keys, and the paths that clients see.

Ids are used as they are: the contract has checked them against ID_PATTERN. Upper and lower case differ.
"""

from __future__ import annotations

import unicodedata
import uuid
from datetime import datetime
from pathlib import PurePosixPath

from contract import is_id
from core.errors import Refusal
from core.text import printable, shown
from storage.base import BadKey

PATH_PREFIX = "/data/"  # of the paths by which clients know keys
MAX_KEY_BYTES = 1024
MAX_PART_BYTES = 255
MAX_FILENAME_BYTES = 200  # of a client's file name, which leaves room for a prefix
_LATEST = 2**42 - 1  # milliseconds since 1970, in the year 2109
_LATENTS = "safetensors"  # the extension of tracks' latents
# The folders of tracks in `outputs`, with the number of parts below each.
_TRACK_FOLDERS = {"base": 1, "twins": 2, "made": 2}


# Uploads and datasets.
def upload(producer: str, job: str, filename: str) -> str:
    return f"uploads/{producer}/{job}/{filename}"


def dataset_clip(producer: str, job: str, index: int, extension: str) -> str:
    """A file that was fetched from a URL; `extension` has no dot."""
    return f"datasets/{producer}/{job}/clip_{index:04d}.{extension}"


def dataset_record(producer: str, job: str) -> str:
    return f"datasets/{producer}/{job}/dataset.json"


# A copy of the producer's newest dataset, for people to look at.
def training_folder(producer: str) -> str:
    return f"training_data/{producer}/"


def training_audio(producer: str, number: int, extension: str = "wav") -> str:
    return f"training_data/{producer}/audio/seg_{number:04d}.{extension}"


def training_text(producer: str, stem: str) -> str:
    return f"training_data/{producer}/text/{stem}.txt"


def training_record(producer: str) -> str:
    return f"training_data/{producer}/dataset.json"


def training_lease(producer: str) -> str:
    """The lease on the folder above; see preprocessing.training_folder."""
    return f"training_turns/{producer}.json"


# Jobs. Their training data is not in `jobs/`, so that listing jobs is cheap.
def job_record(job: str) -> str:
    return f"jobs/{job}.json"


def open_job(job: str) -> str:
    """Exists until the job has ended, so that open jobs are found without reading every record."""
    return f"open_jobs/{job}"


def job_of_task(task: str) -> str:
    """Contains the id of the job that a BentoML task carries out."""
    return f"tasks/{task}"


def job_slots() -> str:
    """Jobs that were admitted and have no `open_job` yet; see training.jobs.slots."""
    return "job_slots/admitted.json"


def job_audio(job: str, number: int, extension: str = "wav") -> str:
    return f"job_data/{job}/audio/seg_{number:04d}.{extension}"


def job_text(job: str, stem: str) -> str:
    return f"job_data/{job}/text/{stem}.txt"


def job_folders(job: str) -> tuple[str, ...]:
    """The folders of all that a job has besides its record."""
    return f"job_data/{job}/", f"job_runs/{job}/"


# What training makes besides the adapter.
def checkpoint(job: str) -> str:
    return f"job_runs/{job}/checkpoint.pt"


def report(job: str) -> str:
    return f"job_runs/{job}/report.json"


def report_page(job: str) -> str:
    return f"job_runs/{job}/report.html"


def preview(job: str, name: str) -> str:
    """A track generated during training, or its spectrogram; `name` has its extension."""
    return f"job_runs/{job}/previews/{name}"


def own_music(job: str) -> str:
    """The measurements of the music that a twin was trained on; see training.evaluation.own_music."""
    return f"job_runs/{job}/own_music.npz"


def training_segments(job: str) -> str:
    """The fingerprints of the segments that a twin was trained on; see preprocessing.memorised."""
    return f"job_runs/{job}/training_segments.npz"


def tensorboard(job: str, name: str) -> str:
    return f"job_runs/{job}/tensorboard/{name}"


def tag_cache(digest: str) -> str:
    """Gemini's answer for a segment; `digest` is that of the whole request, with the audio."""
    return f"tag_cache/{digest}.json"


# Access.
def api_keys() -> str:
    return "api_keys/"


def api_key(key: str) -> str:
    """The record of an API key, by the key's id; see api.auth.keys."""
    return f"api_keys/{key}.json"


def access() -> str:
    return "access/"


def key_required() -> str:
    """Exists once the first API key was made: from then on every request needs one."""
    return "access/key_required"


# Producers, where users sign in.
def producer_records() -> str:
    return "producers/"


def producer_record(producer: str) -> str:
    """The owner of a producer and the visibility of their twins; see storage.producers."""
    return f"producers/{producer}.json"


def owned_producers(owner: str) -> str:
    """The folder of an owner's marks, one for each of their producers; `owner` is a digest."""
    return f"producer_owners/{owner}/"


def owned_producer(owner: str, producer: str) -> str:
    return f"producer_owners/{owner}/{producer}"


def usage_counts(producer: str) -> str:
    """The uses of a producer's twins by month; see storage.usage."""
    return f"usage/{producer}/counts.json"


def usage_events(producer: str) -> str:
    """The folder of the uses that are not in the counts yet."""
    return f"usage/{producer}/events/"


def usage_event(producer: str, month: str, model: str, name: str) -> str:
    return f"usage/{producer}/events/{month}/{model}/{name}"


# Twins and tracks.
def lora(producer: str, model: str) -> str:
    return f"loras/{producer}_{model}.safetensors"


def lora_owner(producer: str, model: str) -> str:
    """Contains the id of the twin that has the file name above, since `a_b` + `c` and `a` + `b_c` share one, and its
    version."""
    return f"lora_owners/{producer}_{model}"


def model(producer: str) -> str:
    return f"models/{producer}/adapter_model.safetensors"


def model_config(producer: str) -> str:
    return f"models/{producer}/adapter_config.json"


def producer_folders(producer: str) -> dict[str, str]:
    """The folders of a producer's objects, by kind."""
    return {
        "uploads": f"uploads/{producer}/",
        "datasets": f"datasets/{producer}/",
        "training_data": training_folder(producer),
        "models": f"models/{producer}/",
        "lora_versions": lora_versions(producer),
        "outputs": f"outputs/twins/{producer}/",
    }


def lora_versions(producer: str, model: str | None = None) -> str:
    """The folder of all versions of a twin, or of a producer's twins."""
    return f"lora_versions/{producer}/{model}/" if model else f"lora_versions/{producer}/"


def lora_version(producer: str, model: str, version: str) -> str:
    return f"{lora_versions(producer, model)}{version}.safetensors"


def lora_deletions() -> str:
    """Changes whenever a twin is deleted, so that replicas know when to look for their copies of it."""
    return "lora_deletions/latest"


def lora_lease(producer: str) -> str:
    """The lease on a producer's twins, since a version takes several objects."""
    return f"lora_turns/{producer}.json"


def newest_first(time: datetime) -> str:
    """A text of fixed length; of two, that of the later time sorts first."""
    return f"{_LATEST - round(time.timestamp() * 1000):011x}"


def new_track_name(made_at: datetime) -> str:
    """A random name; of two, that of the later track sorts first."""
    return f"{newest_first(made_at)}-{uuid.uuid4()}"


def output(producer: str | None, name: str, extension: str, maker: str | None = None) -> str:
    """A generated track: its maker's; without a maker, the twin's, or the base model's if `producer` is None."""
    if maker:
        return f"outputs/made/{maker}/{name}.{extension}"
    return f"outputs/twins/{producer}/{name}.{extension}" if producer else f"outputs/base/{name}.{extension}"


def latents(track: str) -> str:
    """The latents of the generated track with this key, which lie beside it."""
    return f"{track.rpartition('.')[0]}.{_LATENTS}"


def track_id(key: str) -> str | None:
    """The id of a track: its key without `outputs/` and extension, with colons; None if it is no track's key."""
    root, *parts = key.split("/")
    if root != "outputs" or not parts or key.endswith(f".{_LATENTS}") or _TRACK_FOLDERS.get(parts[0]) != len(parts) - 1:
        return None
    return ":".join([*parts[:-1], parts[-1].partition(".")[0]])


def track_of(track_id: str, extension: str = "wav") -> str | None:
    """The key of a track; None if the id is not well-formed."""
    kind, *parts = track_id.split(":")
    if _TRACK_FOLDERS.get(kind) != len(parts) or not all(map(is_id, parts)) or "." in parts[-1]:
        return None
    return "/".join(["outputs", kind, *parts]) + f".{extension}"


TRACK_RECORDS, TRACK_INDEX = "track_records/", "track_index/"  # see storage.record_index


def track_records(maker: str | None = None) -> str:
    """The folder of the records of a maker's tracks; without a maker, of all tracks that have none."""
    return f"{TRACK_RECORDS}made/{maker}/" if maker else f"{TRACK_RECORDS}shared/"


def track_record(track_id: str) -> str:
    """The record of a track. Its name starts with the track's, so that the newest comes first in its folder."""
    kind, *owner, name = track_id.split(":")
    if kind == "made":
        return f"{track_records(owner[0])}{name}.json"
    return track_records() + "~".join([name, *owner]) + ".json"


def track_of_record(key: str) -> str:
    """The id of the track of a record's key."""
    folder, _, name = key.removesuffix(".json").rpartition("/")
    name, *producer = name.split("~")
    if folder.startswith(f"{TRACK_RECORDS}made/"):
        return f"made:{folder.rpartition('/')[2]}:{name}"
    return ":".join(["twins", *producer, name]) if producer else f"base:{name}"


def producer_of_record(key: str) -> str | None:
    """The producer that the name of a track's record has."""
    return key.rpartition("/")[2].removesuffix(".json").partition("~")[2] or None


def track_of_companion(key: str) -> str | None:
    """The prefix of the keys of the files whose companion this is (see `track_companions`); None if it is none."""
    if key.startswith(TRACK_RECORDS):
        return track_of(track_of_record(key), "")
    root, _, extension = key.rpartition(".")
    return f"{root}." if key.startswith("outputs/") and extension == _LATENTS else None


def track_companions(key: str) -> tuple[str, ...]:
    """What is stored besides a track and goes with it when it is deleted; nothing if the key is not a track's."""
    id = track_id(key)
    return (track_record(id), latents(key)) if id else ()


# Tasks of ACE-Step's API (api.acestep.tasks).
def acestep_task(task: str) -> str:
    return f"acestep_tasks/{task}.json"


def _fault(key: str, last_may_be_empty: bool = False) -> str | None:
    """What is wrong with a key; None if nothing is."""
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
    """The key itself. Raises BadKey if it is not well-formed: no well-formed key leads out of the root."""
    if fault := _fault(key):
        raise BadKey(f"{key!r} is not a key: {fault}")
    return key


def check_prefix(prefix: str) -> str:
    """The prefix itself. Raises BadKey if it is neither empty nor the beginning of a key."""
    if prefix and (fault := _fault(prefix, last_may_be_empty=True)):
        raise BadKey(f"{prefix!r} is not the beginning of a key: {fault}")
    return prefix


def to_path(key: str) -> str:
    """The path by which clients know the key."""
    return PATH_PREFIX + check(key)


def from_path(path: str, field: str = "path") -> str:
    """The key of a path that a client sent. Raises Refusal (400) naming `field` if it is not a path of the tree."""
    if not path.startswith(PATH_PREFIX):
        raise Refusal(400, f"{field}: {shown(path)} is not a path in storage; it must start with {PATH_PREFIX}")
    key = path.removeprefix(PATH_PREFIX)
    if fault := _fault(key):
        raise Refusal(400, f"{field}: {shown(path)} is not a path in storage, as {fault}; send one that was answered")
    return key


def safe_filename(name: str, field: str = "filename") -> str:
    """A client's file name as the last part of a key.

    Folders (with either slash), unprintable characters and leading dots are removed, and a stem that is too long is cut
    before its extension. Raises Refusal (400) naming `field` if nothing is left.
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
