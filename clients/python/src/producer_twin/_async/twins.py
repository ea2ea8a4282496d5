"""Twins: list, inspect, import, export, roll back, train again, delete."""

from __future__ import annotations

import builtins
import os
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from pydantic import PrivateAttr

from producer_twin._async.jobs import AsyncJob
from producer_twin._async.resource import AsyncResource
from producer_twin._async.tracks import AsyncTrack
from producer_twin._async.transport import NO_READ_TIMEOUT
from producer_twin._files import FilePart, OnProgress, name_of, written
from producer_twin._idempotency import idempotent
from producer_twin._paths import path_of
from producer_twin.errors import ProducerTwinError
from producer_twin.models import (
    DeletedAnswer,
    ImportAnswer,
    LoraAnswer,
    ReportAnswer,
    RetrainAnswer,
    VersionAnswer,
    VersionsAnswer,
)
from producer_twin.requests import GenerateOptions, RetrainOptions

if TYPE_CHECKING:
    from producer_twin._async.client import AsyncProducerTwin


class AsyncTwin(LoraAnswer):
    """A twin, as it was when the service was asked."""

    _client: AsyncProducerTwin = PrivateAttr()

    async def generate(self, prompt: str, **options: Unpack[GenerateOptions]) -> AsyncTrack:
        """Make a track in the twin's style."""
        options["lora_id"] = self.lora_id
        return await self._client.generate(prompt, **options)

    async def report(self) -> ReportAnswer:
        """The report on the twin's current version.

        Raises:
            ProducerTwinError: the twin was not trained by this service.
        """
        current = next((version for version in await self.versions() if version.current), None)
        if current is None or not current.job_id:
            raise ProducerTwinError(f"{self.lora_id} has no report: it was not trained here")
        return await self._client.jobs.report(current.job_id)

    async def versions(self) -> builtins.list[VersionAnswer]:
        """The twin's versions, the newest first."""
        return await self._client.twins.versions(self.lora_id)

    async def roll_back(self, version: str) -> AsyncTwin:
        """Make another version the current one."""
        return await self._client.twins.roll_back(self.lora_id, version)

    async def retrain(self, **options: Unpack[RetrainOptions]) -> AsyncJob:
        """Train the twin again on its dataset, on the checkpoint that is served now."""
        return await self._client.jobs.get((await self._client.twins.retrain(self.lora_id, **options)).job_id)

    async def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the adapter file, in safetensors' format."""
        return await self._client.twins.export(self.lora_id, path)

    async def delete(self) -> DeletedAnswer:
        """Delete the twin with all its versions."""
        return await self._client.twins.delete(self.lora_id)


class AsyncTwins(AsyncResource):
    """The twins."""

    async def list(self, *, producer_id: str | None = None) -> builtins.list[AsyncTwin]:
        """The twins, of one producer or of all."""
        answer = await self._transport.send("GET", "/loras", params={"producer_id": producer_id})
        return [self._twin(row) for row in answer.json()["loras"]]

    async def get(self, lora_id: str) -> AsyncTwin:
        """A twin, by `producer:model`."""
        return self._twin((await self._transport.send("GET", path_of("/loras/{lora_id}", lora_id=lora_id))).json())

    async def delete(self, lora_id: str) -> DeletedAnswer:
        """Delete a twin with all its versions."""
        path = path_of("/loras/{lora_id}", lora_id=lora_id)
        answer = await self._transport.send("DELETE", path, repeatable=False)
        return DeletedAnswer.model_validate_json(answer.content)

    async def versions(self, lora_id: str) -> builtins.list[VersionAnswer]:
        """The versions of a twin, the newest first."""
        answer = await self._transport.send("GET", path_of("/loras/{lora_id}/versions", lora_id=lora_id))
        return VersionsAnswer.model_validate_json(answer.content).versions

    async def roll_back(self, lora_id: str, version: str) -> AsyncTwin:
        """Make another version of a twin the current one."""
        path = path_of("/loras/{lora_id}/rollback", lora_id=lora_id)
        return self._twin((await self._transport.send("POST", path, json={"version": version})).json())

    async def retrain(self, lora_id: str, **options: Unpack[RetrainOptions]) -> RetrainAnswer:
        """Train a twin again on its dataset. A `job_id` is chosen unless one is given, so that it is done once."""
        path = path_of("/loras/{lora_id}/retrain", lora_id=lora_id)
        body = {"job_id": str(uuid.uuid4()), **options}
        answer = await self._transport.send("POST", path, json=body, headers=idempotent())
        return RetrainAnswer.model_validate_json(answer.content)

    async def import_adapter(
        self,
        producer_id: str,
        model_name: str,
        adapter: str | os.PathLike[str],
        config: str | os.PathLike[str] | None = None,
        *,
        backend: str | None = None,
        on_progress: OnProgress | None = None,
        idempotency_key: str | None = None,
    ) -> ImportAnswer:
        """Import an adapter that was made elsewhere as a twin.

        Args:
            adapter: the file, or a zip of its folder.
            config: its adapter_config.json.
            backend: the model that it is for; found from the file if left out.
            on_progress: is called while the adapter is sent.
            idempotency_key: the same key with the same files is the same version; a new one if left out.
        """
        files = [FilePart(Path(adapter), name_of(adapter), on_progress)]
        if config is not None:
            files.append(FilePart(Path(config), "adapter_config.json"))
        form = {"producer_id": producer_id, "model_name": model_name, "backend": backend}
        answer = await self._transport.send(
            "POST",
            "/loras/import",
            form=form,
            files=files,
            headers=idempotent(idempotency_key),
            timeout=NO_READ_TIMEOUT,
        )
        return ImportAnswer.model_validate_json(answer.content)

    async def export(self, lora_id: str, path: str | os.PathLike[str], *, version: str | None = None) -> Path:
        """Write the adapter file of a twin, or of one of its other versions."""
        target, source = Path(path), path_of("/loras/{lora_id}/file", lora_id=lora_id)
        async with self._transport.stream(source, params={"version": version}) as answer:
            with written(target) as file:
                async for chunk in answer.aiter_bytes():
                    file.write(chunk)
        return target

    def _twin(self, row: Any) -> AsyncTwin:
        twin = AsyncTwin.model_validate(row)
        twin._client = self._client
        return twin
