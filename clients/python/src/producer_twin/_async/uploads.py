"""A producer's audio files: send and analyse."""

from __future__ import annotations

import base64
import os
import uuid
from pathlib import Path

from producer_twin._async.resource import AsyncResource
from producer_twin._async.transport import NO_READ_TIMEOUT
from producer_twin._files import FilePart, OnProgress, name_of
from producer_twin._idempotency import idempotent
from producer_twin.models import AnalysisAnswer, StoreUploadAnswer, UploadLinkAnswer


class AsyncUploads(AsyncResource):
    """The uploads. A `job_id` is chosen unless one is given, so that a file that is sent again is stored once."""

    async def upload(
        self,
        producer_id: str,
        path: str | os.PathLike[str],
        *,
        job_id: str | None = None,
        filename: str | None = None,
        on_progress: OnProgress | None = None,
    ) -> StoreUploadAnswer:
        """Send a file of any size, in constant memory.

        Args:
            job_id: the folder in storage.
            filename: the name in storage; the file's own if left out.
            on_progress: is called with the bytes sent and the file's bytes while it is sent.
        """
        name = filename or name_of(path)
        form = {"producer_id": producer_id, "job_id": job_id or str(uuid.uuid4()), "filename": name}
        files = [FilePart(Path(path), name, on_progress)]
        answer = await self._transport.send(
            "POST", "/uploads", form=form, files=files, headers=idempotent(), timeout=NO_READ_TIMEOUT
        )
        return StoreUploadAnswer.model_validate_json(answer.content)

    async def store(
        self, producer_id: str, content: bytes, *, filename: str = "audio.wav", job_id: str | None = None
    ) -> StoreUploadAnswer:
        """Send a file that is in memory."""
        body = {
            "producer_id": producer_id,
            "job_id": job_id or str(uuid.uuid4()),
            "filename": filename,
            "content_base64": base64.b64encode(content).decode(),
        }
        answer = await self._transport.send(
            "POST", "/store-upload", json=body, headers=idempotent(), timeout=NO_READ_TIMEOUT
        )
        return StoreUploadAnswer.model_validate_json(answer.content)

    async def link(
        self, producer_id: str, bytes: int, *, filename: str = "audio.wav", job_id: str | None = None
    ) -> UploadLinkAnswer:
        """A URL to send a file of `bytes` bytes straight to the bucket, where storage is S3."""
        body = {"producer_id": producer_id, "bytes": bytes, "filename": filename, "job_id": job_id or str(uuid.uuid4())}
        answer = await self._transport.send("POST", "/uploads/link", json=body, headers=idempotent())
        return UploadLinkAnswer.model_validate_json(answer.content)

    async def analysis(self, path: str) -> AnalysisAnswer:
        """The length, tempo, key and levels of an upload, by the path that it was answered."""
        answer = await self._transport.send("GET", "/uploads/analysis", params={"path": path}, timeout=NO_READ_TIMEOUT)
        return AnalysisAnswer.model_validate_json(answer.content)
