"""`AsyncProducerTwin`: the client."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Self, Unpack

import httpx

from producer_twin._async.jobs import AsyncJob, AsyncJobs
from producer_twin._async.producers import AsyncProducers
from producer_twin._async.service import AsyncService
from producer_twin._async.tracks import AsyncTrack, AsyncTracks
from producer_twin._async.training import AsyncTraining
from producer_twin._async.transport import AsyncTransport
from producer_twin._async.twins import AsyncTwin, AsyncTwins
from producer_twin._async.uploads import AsyncUploads
from producer_twin._connection import base_url, headers
from producer_twin._files import OnProgress
from producer_twin._retry import Retry
from producer_twin.requests import GenerateOptions, TrainOptions

# A training that is waited for is redirected every few minutes.
MAX_REDIRECTS = 10_000


class AsyncProducerTwin:
    """A client of a Producer Twin service.

    Args:
        url: of the service; `PRODUCER_TWIN_URL`, or http://127.0.0.1:3000, if left out.
        api_key: `PRODUCER_TWIN_API_KEY` if left out; a service on your own machine may need none.
        password: of routes that write; `PRODUCER_TWIN_PASSWORD` if left out; most services have none.
        twin_links: the secrets of twins that their owners share by link.
        retry: how often and how long to try again.
        http: an HTTP client of your own, such as one with a proxy; it is closed with this client.

    Attributes:
        jobs, producers, service, tracks, training, twins, uploads: the routes of the service, by their subject.
    """

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        password: str | None = None,
        twin_links: Sequence[str] = (),
        retry: Retry | None = None,
        http: httpx.AsyncClient | None = None,
    ) -> None:
        client = http or httpx.AsyncClient()
        client.base_url = base_url(url)
        client.headers.update(headers(api_key, password, twin_links))
        client.follow_redirects = True  # tracks on S3 are answered as a link to the bucket
        client.max_redirects = MAX_REDIRECTS
        self.transport = AsyncTransport(client, retry or Retry())
        self.jobs = AsyncJobs(self)
        self.producers = AsyncProducers(self)
        self.service = AsyncService(self)
        self.tracks = AsyncTracks(self)
        self.training = AsyncTraining(self)
        self.twins = AsyncTwins(self)
        self.uploads = AsyncUploads(self)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self.transport.aclose()

    async def generate(
        self,
        prompt: str,
        *,
        source_file: str | os.PathLike[str] | None = None,
        reference_file: str | os.PathLike[str] | None = None,
        request_id: str | None = None,
        idempotency_key: str | None = None,
        **options: Unpack[GenerateOptions],
    ) -> AsyncTrack:
        """Make a track, as `tracks.generate`; `lora_id` names a twin."""
        return await self.tracks.generate(
            prompt,
            source_file=source_file,
            reference_file=reference_file,
            request_id=request_id,
            idempotency_key=idempotency_key,
            **options,
        )

    async def train(
        self,
        producer_id: str,
        files: Iterable[str | os.PathLike[str]],
        *,
        on_upload: OnProgress | None = None,
        **options: Unpack[TrainOptions],
    ) -> AsyncJob:
        """Send a producer's files and start to train a twin on them. `wait()` of the answer waits for the twin.

        Args:
            files: paths on this machine.
            on_upload: is called with the bytes sent and the bytes in all, of all files.
            options: the other fields of `POST /train`.
        """
        paths = list(files)
        total = sum(os.stat(path).st_size for path in paths)
        stored, before = [], 0
        for path in paths:
            start = before

            def report(sent: int, size: int | None, start: int = start) -> None:
                if on_upload:
                    on_upload(start + sent, total)

            stored.append((await self.uploads.upload(producer_id, path, on_progress=report)).path)
            before += os.stat(path).st_size
        submitted = await self.training.submit(producer_id, stored, **options)
        return await self.jobs.get(submitted.job_id)

    async def twin(self, lora_id: str) -> AsyncTwin:
        """A twin, by `producer:model`."""
        return await self.twins.get(lora_id)

    async def job(self, job_id: str) -> AsyncJob:
        """A training, by its id."""
        return await self.jobs.get(job_id)
