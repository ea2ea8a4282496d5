"""Finds the recordings that a request names or sends, and decodes them in the sandbox."""

from __future__ import annotations

import asyncio
import io
import re
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from contract import FORMATS, GenerateRequest, is_id
from core import principal
from core.disk import temporary_space
from core.errors import Refusal
from core.gate import Gate
from core.recent import Recent
from core.temporary import TemporaryFolder
from core.text import shown
from generation.access import may_fetch, producer_of
from generation.editing import kept_latents
from generation.outbox import Outbox
from preprocessing.decoders import SampleFormat
from preprocessing.isolation import CONVERT, DECODING, refusing
from preprocessing.recording import Converted, Target, convert
from runners.messages import Audio, LatentsMessage
from storage import NotFound, Storage, keys

Samples = NDArray[np.float32]  # (frames, channels); full scale is ±1

OF_PRODUCER = "producer:"
RecordedField = Literal["source", "reference"]
_TRACK_ID = re.compile("(base|(twins|made):[^:/]+):[^:/]+")
# Decoding takes a core and, for ten minutes, some hundred megabytes of the disk for temporary files.
_AT_ONCE, _AT_ONCE_EACH = 2, 1
# References, of some megabytes each, that stay in memory.
_MAX_REFERENCES = 16


@dataclass(frozen=True)
class Sent:
    """The files that came with a request, by the fields that they stand for."""

    source: io.FileIO | None = None
    reference: io.FileIO | None = None

    @property
    def files(self) -> dict[RecordedField, io.FileIO]:
        """Those that were sent."""
        fields: Mapping[RecordedField, io.FileIO | None] = {"source": self.source, "reference": self.reference}
        return {name: file for name, file in fields.items() if file}


NOTHING_SENT = Sent()


@dataclass(frozen=True)
class Recording:
    """A recording for a runner.

    Attributes:
        audio: at the model's rate and channels.
        name: for the provenance: its path, or its digest if it was sent.
        owner: the producer whose it is; None for a file that was sent, and for a track of the base model or of a user.
    """

    audio: Audio
    name: str
    owner: str | None


@dataclass(frozen=True)
class Source(Recording):
    """A recording that is edited.

    Attributes:
        samples: the file's own.
        sample_rate: the file's, in Hz.
        sample_format: the smallest one that holds the samples.
        peak: the factor by which the runner's copy is quieter.
    """

    samples: Samples
    sample_rate: int
    sample_format: SampleFormat
    peak: float

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.sample_rate


@dataclass(frozen=True)
class _Found:
    """What a request names or sends.

    Attributes:
        place: the storage key, or the file that was sent.
        name: see `Recording`.
        owner: see `Recording`.
        etag: with the name it identifies the content; empty if that is not in storage.
    """

    place: str | io.FileIO
    name: str
    owner: str | None
    etag: str


class Recordings:
    """Reads sources and references.

    Args:
        outbox: its storage, and the tracks that wait for it.
    """

    def __init__(self, outbox: Outbox) -> None:
        self.outbox = outbox
        self.storage: Storage = outbox.storage
        self._references = Recent[tuple[str, str, Target], Audio](_MAX_REFERENCES)
        self._gate = Gate(_AT_ONCE, _AT_ONCE_EACH)

    async def source(
        self, path: str | None, sent: io.FileIO | None, target: Target, base_sha256: str | None = None
    ) -> Source:
        """The recording to edit, with the silence of `target` in the runner's copy.

        Args:
            base_sha256: the digest of the checkpoint for which kept latents are wanted; None for none.

        Raises:
            Refusal: 400, 403, 404; 507, the disk for temporary files is full.
        """
        found = await self._find("source", path, sent)
        with temporary_space(), tempfile.TemporaryFile(buffering=0) as kept:
            audio, converted = await self._converted("source", found, target, kept)
            shape = (converted.frames, converted.channels)
            # The mapping outlives the file's descriptor.
            samples = np.memmap(kept, np.float32, "r", shape=shape)
        latents = await self._latents(found, base_sha256)
        if latents:
            audio = _with_latents(audio, latents, converted.peak)
        form = (converted.sample_rate, converted.sample_format, converted.peak)
        return Source(audio, found.name, found.owner, samples, *form)

    async def reference(self, name: str | None, sent: io.FileIO | None, target: Target) -> Recording:
        """The recording that a track follows: a path, a producer's newest upload, or a file that was sent.

        Raises:
            Refusal: as `source`.
        """
        found = await self._find("reference", name, sent)
        content = (found.name, found.etag, target)
        audio = self._references.get(content)
        if audio is None:
            audio, _ = await self._converted("reference", found, target)
        if found.etag:
            self._references[content] = audio
        return Recording(audio, found.name, found.owner)

    async def owners(self, request: GenerateRequest, sent: Sent = NOTHING_SENT) -> list[str | None]:
        """The producers of the recordings that a request names, which are not read.

        Args:
            sent: the files that came with it, which belong to nobody.

        Raises:
            Refusal: 400, 403, 404.
        """
        named = {} if request.task == "text" else {"source": request.source}
        if request.reference is not None or sent.reference is not None:
            named["reference"] = request.reference
        owners = []
        for field, name in named.items():
            found = await self._find(field, name, getattr(sent, field))
            if not found.etag and not self.outbox.waiting(str(found.place)):
                raise _missing(field, found.name)
            owners.append(found.owner)
        return owners

    async def _find(self, field: str, name: str | None, sent: io.FileIO | None) -> _Found:
        if sent is not None and name is not None:
            raise Refusal(400, f"{field}: send a path or a file, not both")
        if sent is not None:
            digest = await asyncio.to_thread(_digest, sent)
            return _Found(sent, f"sha256:{digest}", None, digest)
        if name is None:
            raise _not_sent(field)
        key = await asyncio.to_thread(self._key, field, name)
        entry = await asyncio.to_thread(self.storage.stat, key)
        return _Found(key, keys.to_path(key), producer_of(key), entry.etag if entry else "")

    async def _latents(self, found: _Found, base_sha256: str | None) -> LatentsMessage | None:
        """The kept latents of a generated track; None for other recordings."""
        if base_sha256 is None or not (isinstance(found.place, str) and found.place.startswith("outputs/")):
            return None
        return await asyncio.to_thread(kept_latents.find, found.place, base_sha256, self.outbox)

    async def _converted(
        self, field: str, found: _Found, target: Target, kept: io.FileIO | None = None
    ) -> tuple[Audio, Converted]:
        async with self._gate.slot(), self._opened(field, found) as file:
            with temporary_space(), tempfile.TemporaryFile(buffering=0) as flac:
                with refusing(field):
                    converted = await DECODING.run(CONVERT, convert, file, target, flac, kept)
                flac.seek(0)
                data = await asyncio.to_thread(flac.readall)
        return Audio(flac=data, sha256=sha256(data).hexdigest()), converted

    @asynccontextmanager
    async def _opened(self, field: str, found: _Found) -> AsyncIterator[Path | io.FileIO]:
        """The recording's file on this machine. Raises Refusal (404) if there is none."""
        if isinstance(found.place, io.FileIO):
            yield found.place
            return
        key = found.place
        missing = _missing(field, found.name)
        with TemporaryFolder("source") as folder:
            place = self.outbox.waiting(key) or await asyncio.to_thread(self.storage.local, key)
            try:
                if place is None:
                    place = folder / "recording"
                    with temporary_space():
                        await asyncio.to_thread(self.storage.get_file, key, place)
                elif not place.exists():
                    raise missing
            except NotFound:
                raise missing from None
            yield place

    def _key(self, field: str, name: str) -> str:
        """The storage key that a request names. What the principal may not see does not exist.

        Raises:
            Refusal: 400, it is malformed; 403, the API key may not read uploads; 404.
        """
        if name.startswith(OF_PRODUCER) and field == "reference":
            return self._newest_upload(name)
        if _TRACK_ID.fullmatch(name):
            return self._track(field, name)
        key = keys.from_path(name, field)
        root, kind, *rest = [*key.split("/"), ""]
        is_track = root == "outputs" and kind in ("base", "twins", "made") and len(rest) > 1
        is_upload = root == "uploads" and len(rest) > 2
        if not ((is_track or is_upload) and may_fetch(key)):
            raise _missing(field, name)
        if root == "uploads" and field == "source" and not principal.current().scopes & {"train", "admin"}:
            raise Refusal(403, f"{field}: this API key may not read uploads; send the file itself to /generate/form")
        return key

    def _track(self, field: str, name: str) -> str:
        """The key of the track with this id (see `keys.track_id`), whatever its format.

        Raises:
            Refusal: 404, there is none that the principal may fetch.
        """
        for extension in FORMATS:
            key = keys.track_of(name, extension)
            if key is None or not may_fetch(key):
                break
            if self.outbox.waiting(key) or self.storage.stat(key):
                return key
        raise _missing(field, name)

    def _newest_upload(self, name: str) -> str:
        producer = name.removeprefix(OF_PRODUCER)
        found = []
        if is_id(producer) and principal.sees(producer):
            found = list(self.storage.list(f"uploads/{producer}/"))
        if not found:
            raise Refusal(404, f"reference: there are no uploads of producer {shown(producer)}; upload something first")
        return max(found, key=lambda entry: (entry.modified, entry.key)).key


def _not_sent(field: str) -> Refusal:
    return Refusal(400, f"{field}: it is missing; send the path of a track or an upload, or a file to /generate/form")


def _missing(field: str, name: str) -> Refusal:
    return Refusal(404, f"{field}: {shown(name)} does not exist; send a path that was answered")


def _with_latents(audio: Audio, latents: LatentsMessage, peak: float) -> Audio:
    """The runner's copy of a recording with its latents, whose gain is that to the copy's samples."""
    latents = latents.model_copy(update={"gain": latents.gain / peak})
    digest = sha256(audio.sha256.encode() + latents.values + repr(latents.gain).encode()).hexdigest()
    return Audio(flac=audio.flac, sha256=digest, latents=latents)


def _digest(file: io.FileIO) -> str:
    file.seek(0)
    return file_digest(file, "sha256").hexdigest()
