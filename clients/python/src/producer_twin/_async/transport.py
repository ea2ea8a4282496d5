"""Sends requests: authentication, retries and errors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from typing import Any

import httpx

from producer_twin._answers import error_of, not_understood
from producer_twin._connection import SECRET_HEADERS, is_of_service, shown
from producer_twin._files import FilePart
from producer_twin._retry import Retry, is_under_way, retry_after
from producer_twin.errors import Unreachable

Timeout = httpx.Timeout | float | None

# Of requests that wait for a model or for a training, which take any time.
NO_READ_TIMEOUT = httpx.Timeout(30, read=None)


class AsyncTransport:
    """An HTTP client that tries again where that helps, and raises the service's errors.

    Args:
        http: the client that sends; it is closed with this.
    """

    def __init__(self, http: httpx.AsyncClient, retry: Retry) -> None:
        self._http = http
        self._retry = retry
        hooks = http.event_hooks
        http.event_hooks = {**hooks, "request": [*hooks["request"], self._keep_secrets]}

    async def aclose(self) -> None:
        await self._http.aclose()

    async def send(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        json: Mapping[str, Any] | None = None,
        form: Mapping[str, Any] | None = None,
        files: Sequence[FilePart] = (),
        headers: Mapping[str, str] | None = None,
        timeout: Timeout = 60.0,
        repeatable: bool = True,
        stream: bool = False,
        page: bool = False,
    ) -> httpx.Response:
        """The answer, which is no error. Parameters and fields that are None are left out.

        Args:
            repeatable: whether the request is sent again when it may have reached the service already.
            stream: leave the answer's body to be read, and the answer to be closed, by the caller.
            page: the answer is a page.

        Raises:
            ApiError, Unreachable; ProducerTwinError for a page in place of a document.
        """
        attempt = 1
        while True:
            with ExitStack() as opened:
                parts = [(part.field, (part.name, opened.enter_context(part.open()))) for part in files]
                request = self._http.build_request(
                    method,
                    path,
                    params=None if params is None else _present(params),
                    json=None if json is None else _present(json),
                    data=None if form is None else _present(form),
                    files=parts or None,
                    headers=headers,
                    timeout=timeout,
                )
                try:
                    answer = await self._http.send(request, stream=stream)
                except httpx.TransportError as error:
                    pause = self._retry.pause_after_error(attempt, error, repeatable)
                    if pause is None:
                        raise Unreachable(f"{shown(request.url)}: {_reason(error)}") from error
                    attempt += 1
                else:
                    if not answer.is_error:
                        if not (stream or page) and (unexpected := not_understood(answer)):
                            raise unexpected
                        return answer
                    await _close(answer)
                    pause = self._retry.pause_after_answer(attempt, answer, repeatable)
                    if pause is None:
                        raise error_of(answer, retry_after(answer))
                    attempt += not is_under_way(answer)
            await asyncio.sleep(pause)

    async def _keep_secrets(self, request: httpx.Request) -> None:
        """Remove the secrets from a request that a redirect leads to another host. Only a GET may go there."""
        if is_of_service(request.url, self._http.base_url):
            return
        if request.method != "GET":
            raise Unreachable(f"{shown(request.url)}: the service redirects to another host, which gets no data")
        for name in SECRET_HEADERS:
            request.headers.pop(name, None)

    @asynccontextmanager
    async def stream(self, path: str, **options: Any) -> AsyncIterator[httpx.Response]:
        """The answer to a GET, whose body has not been read. `options` are those of `send`.

        Raises:
            ApiError, Unreachable; Unreachable also where the connection is lost within the block.
        """
        answer = await self.send("GET", path, stream=True, **options)
        try:
            yield answer
        except httpx.TransportError as error:
            raise Unreachable(f"{shown(answer.url)}: {_reason(error)}") from error
        finally:
            await answer.aclose()


async def _close(answer: httpx.Response) -> None:
    """Read the body of an error, and release its connection."""
    try:
        await answer.aread()
    except httpx.TransportError as error:
        raise Unreachable(f"{shown(answer.url)}: {_reason(error)}") from error
    finally:
        await answer.aclose()


def _present(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _reason(error: httpx.TransportError) -> str:
    return str(error) or type(error).__name__
