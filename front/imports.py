"""`POST /loras/import`: an adapter made elsewhere becomes a twin, if it fits the model that is served."""

from __future__ import annotations

import asyncio
import io
import lzma
import struct
import zipfile
import zlib
from pathlib import PurePosixPath

from errors import Refusal
from front.runners import Runners
from models.library import Library, Twin
from runners import TABLE, Backend
from runners.messages import AdoptAnswer, AdoptRequest
from settings import Settings
from storage import keys

# Twice the largest adapter that the real models have: rank 128 on every layer.
MAX_BYTES = 2**30
_CONFIG = "adapter_config.json"
_MOST_ENTRIES = 100
# What zipfile makes of a damaged file.
_NOT_READ = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
    *(NotImplementedError, RuntimeError, EOFError, OSError, ValueError, KeyError),
)


async def adopt(
    files: dict[str, bytes],
    producer: str,
    model: str,
    backend: str | None,
    runners: Runners,
    library: Library,
    settings: Settings,
) -> tuple[Twin, list[str]]:
    """Convert, check and store the adapter that the files (by name) hold.

    Without a backend, the first one of the table that it fits.

    Returns the twin, and what had to be taken for granted.

    Raises:
        Refusal: with the reason; nothing was stored.
    """
    answer = await converted(files, producer, model, backend, runners, settings)
    return await asyncio.to_thread(library.add, answer.data), answer.notes


async def converted(
    files: dict[str, bytes], producer: str, model: str, backend: str | None, runners: Runners, settings: Settings
) -> AdoptAnswer:
    """The adapter in our form. Raises Refusal with the reason why there is none."""
    data, config = unpacked(files)
    request = AdoptRequest(data=data, config=config, producer_id=producer, model_name=model)
    chosen = list(TABLE.enabled(settings).values())
    if backend:
        chosen = [each for each in chosen if each.name == backend]
        if not chosen:
            known = ", ".join(TABLE.enabled(settings))
            raise Refusal(400, f"backend: {keys.shown(backend)} is not a backend; use one of {known}")
    refusals: list[tuple[Backend, Refusal]] = []
    for each in chosen:
        try:
            return await runners.adopt(each, request)
        except Refusal as refusal:
            refusals.append((each, refusal))
    # A backend that could not look may be the one that it fits.
    status = max(refusal.status for _, refusal in refusals)
    raise Refusal(status, "file: " + "; ".join(f"for {each.name}: {refusal.message}" for each, refusal in refusals))


def unpacked(files: dict[str, bytes]) -> tuple[bytes, bytes | None]:
    """The adapter and PEFT's configuration, from the files as they are or from a zipped folder."""
    if len(files) == 1:
        name, data = next(iter(files.items()))
        if zipfile.is_zipfile(io.BytesIO(data)) and not name.endswith(".safetensors"):
            files = _unzipped(data)
    adapters = [name for name in files if name.endswith(".safetensors")]
    others = [name for name in files if name not in adapters and PurePosixPath(name).name != _CONFIG]
    if len(adapters) != 1:
        found = ", ".join(map(keys.shown, files)) or "nothing"
        raise Refusal(
            400, f"file: send one .safetensors file, its {_CONFIG} where there is one, or both in a .zip; got {found}"
        )
    if others and len(files) <= 2:
        raise Refusal(400, f"file: {keys.shown(others[0])} is neither a .safetensors file nor {_CONFIG}")
    beside = str(PurePosixPath(adapters[0]).with_name(_CONFIG))
    return files[adapters[0]], files.get(beside)


def _unzipped(data: bytes) -> dict[str, bytes]:
    """What of a zipped folder concerns us. What it says of its own size is not believed."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = [name for name in archive.namelist() if name.endswith((".safetensors", _CONFIG))]
            if len(names) > _MOST_ENTRIES:
                raise Refusal(400, "file: the .zip has too many files; zip one adapter's folder")
            found, left = {}, MAX_BYTES
            for name in names:
                with archive.open(name) as entry:
                    found[name] = entry.read(left + 1)
                left -= len(found[name])
                if left < 0:
                    raise Refusal(413, f"file: it is over {MAX_BYTES // 2**20} MB")
            return found
    except _NOT_READ as error:
        raise Refusal(400, "file: the .zip cannot be read; make it anew, without a password") from error
