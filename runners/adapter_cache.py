"""A runner's cache of adapters: from storage, through the Bento model store, into memory."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

from adapters import bento_store
from adapters.adapter_file import Header, InvalidAdapter
from adapters.library import Library
from adapters.merged_weights import MAX_BYTES
from adapters.serialization import decode
from adapters.stored_adapter import StoredAdapter
from adapters.weights import AdapterWeights
from core import metrics
from core.errors import Refusal
from models.base import Model
from models.checkpoints import Checkpoint
from runners.messages import AdapterRef
from storage import Storage

log = logging.getLogger("producer_twin.runner")


class AdapterCache:
    """Adapters in memory by the digest of their content, the least recently used evicted first. For one event loop.

    Args:
        storage: where adapter files are.
        model: the model that the adapters are for.
        checkpoint: the model's checkpoint; adapters of another one are refused.
        max_bytes: memory for adapters and for the weights that they are merged into; those in use may exceed it.
        backend: the label of metrics.
    """

    def __init__(
        self, storage: Storage, model: Model, checkpoint: Checkpoint, max_bytes: int = MAX_BYTES, backend: str = ""
    ) -> None:
        self.library = Library(storage)
        self.model = model
        self.checkpoint = checkpoint
        self.max_bytes = max_bytes
        self._backend = backend
        self._saver = ThreadPoolExecutor(1, thread_name_prefix="model-store")
        self._cached: OrderedDict[str, AdapterWeights] = OrderedDict()
        self._loading: dict[tuple[str, str], asyncio.Task[AdapterWeights]] = {}
        self._in_use: Counter[str] = Counter()
        model.merged.limit(max_bytes)

    @asynccontextmanager
    async def hold(self, refs: Sequence[AdapterRef]) -> AsyncIterator[list[AdapterWeights]]:
        """The adapters' weights, which are not evicted within the context.

        Raises:
            Refusal: 404, an adapter is gone or its file is damaged; 409, it was trained on another checkpoint.
        """
        digests = [ref.header.sha256 for ref in refs]
        self._in_use.update(digests)
        try:
            yield [await self._get(ref) for ref in refs]
        finally:
            self._in_use.subtract(digests)
            self._in_use = +self._in_use
            self._evict()

    def forget(self, gone: Callable[[Header], bool]) -> None:
        """Remove the adapters of which `gone` is true from memory. Thread-safe."""
        for digest, weights in list(self._cached.items()):
            if gone(weights.header):
                self._cached.pop(digest, None)

    async def _get(self, ref: AdapterRef) -> AdapterWeights:
        header = ref.header
        if header.base_sha256 != self.checkpoint.sha256:
            raise Refusal(
                409,
                f"lora_id: {header.lora_id} was trained on {header.base} as it was then; "
                f"{self.checkpoint.name} is served now: train it again",
            )
        weights = self._cached.get(header.sha256)
        if weights:
            self._count("memory")
        else:
            # Concurrent requests share one load, which goes on if one of them is cancelled.
            load = self._loading.get((header.sha256, ref.key)) or self._start_loading(ref)
            weights = await asyncio.shield(load)
        self._cached[header.sha256] = weights
        self._cached.move_to_end(header.sha256)
        return weights

    def _start_loading(self, ref: AdapterRef) -> asyncio.Task[AdapterWeights]:
        name = (ref.header.sha256, ref.key)

        async def load() -> AdapterWeights:
            try:
                weights = await asyncio.to_thread(self._load, ref)
                self._cached[ref.header.sha256] = weights
                self._evict()
                return weights
            finally:
                del self._loading[name]

        task = self._loading[name] = asyncio.create_task(load())
        return task

    def _evict(self) -> None:
        cached = list(self._cached.items())
        size = sum(weights.nbytes for _, weights in cached)
        for digest, weights in cached:
            if size <= self.max_bytes:
                break
            if not self._in_use[digest]:
                size -= weights.nbytes
                self._cached.pop(digest, None)
        self.model.merged.limit(max(0, self.max_bytes - size))

    def _load(self, ref: AdapterRef) -> AdapterWeights:
        if weights := self._from_model_store(ref.header):
            self._count("model store")
            return weights
        self._count("storage")
        return self._from_storage(ref)

    def _count(self, found: str) -> None:
        metrics.ADAPTERS.labels(self._backend, found).inc()

    def _from_model_store(self, header: Header) -> AdapterWeights | None:
        """`None` if it is not there or damaged."""
        data = bento_store.load(header)
        if data is None:
            return None
        try:
            return self._decode(data, header)
        except InvalidAdapter as reason:
            log.warning("%s in the model store is discarded: %s", header.lora_id, reason)
            bento_store.delete_version(header)
            return None

    def _from_storage(self, ref: AdapterRef) -> AdapterWeights:
        """Load from storage, and save to the Bento model store in the background."""
        header = ref.header
        data = self.library.read(StoredAdapter(ref.key, header, 0, ref.spares))
        try:
            weights = self._decode(data, header)
        except InvalidAdapter as reason:
            raise Refusal(404, f"lora_id: {header.lora_id} cannot be used: {reason}") from reason
        self._saver.submit(bento_store.save, header, data)
        return weights

    def _decode(self, data: bytes, header: Header) -> AdapterWeights:
        weights = decode(data, self.model)
        if weights.header.sha256 != header.sha256:
            raise InvalidAdapter("it was replaced meanwhile; send the request again")
        return weights
