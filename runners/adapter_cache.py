"""A runner's adapters: from storage, by way of the Bento model store, into memory, ready for a row."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

from adapters import bento_store
from adapters.adapter_file import Header, InvalidAdapter
from adapters.library import Library, StoredAdapter
from adapters.serialization import decode
from adapters.weights import AdapterWeights
from core import metrics
from core.errors import Refusal
from models.base import Model
from models.checkpoints import Checkpoint
from runners.messages import AdapterRef
from storage import Storage

log = logging.getLogger("producer_twin.runner")

# How many bytes of adapters stay in memory.
BUDGET = 2 * 2**30


class Adapters:
    """Kept by content: a twin that was trained anew is another one. For one event loop."""

    def __init__(
        self, storage: Storage, model: Model, checkpoint: Checkpoint, budget: int = BUDGET, backend: str = ""
    ) -> None:
        self._backend = backend
        self.library = Library(storage)
        self._saver = ThreadPoolExecutor(1, thread_name_prefix="model-store")
        self.model = model
        self.checkpoint = checkpoint
        self.budget = budget
        self._kept: OrderedDict[str, AdapterWeights] = OrderedDict()
        self._loading: dict[tuple[str, str], asyncio.Task[AdapterWeights]] = {}
        self._held: Counter[str] = Counter()

    @asynccontextmanager
    async def held(self, refs: Sequence[AdapterRef]) -> AsyncIterator[list[AdapterWeights]]:
        """The adapters' weights, which stay in memory within the context.

        Raises:
            Refusal: 404 where one is gone or its file is damaged; 409 where it was trained on another checkpoint.
        """
        names = [ref.header.sha256 for ref in refs]
        self._held.update(names)
        try:
            yield [await self._get(ref) for ref in refs]
        finally:
            self._held.subtract(names)
            self._held = +self._held
            self._evict()

    async def _get(self, ref: AdapterRef) -> AdapterWeights:
        header = ref.header
        if header.base_sha256 != self.checkpoint.sha256:
            raise Refusal(
                409,
                f"lora_id: {header.lora_id} was trained on {header.base} as it was then; "
                f"{self.checkpoint.name} is served now: train it again",
            )
        weights = self._kept.get(header.sha256)
        if weights:
            self._found("memory")
        else:
            # Whoever asks for it meanwhile waits for the same load, which goes on if one of them goes away.
            load = self._loading.get((header.sha256, ref.key)) or self._begin(ref)
            weights = await asyncio.shield(load)
        self._kept[header.sha256] = weights
        self._kept.move_to_end(header.sha256)
        return weights

    def forget(self, gone: Callable[[Header], bool]) -> None:
        """Drop from memory what is gone. May be called from another thread."""
        for name, weights in list(self._kept.items()):
            if gone(weights.header):
                self._kept.pop(name, None)

    def _begin(self, ref: AdapterRef) -> asyncio.Task[AdapterWeights]:
        name = (ref.header.sha256, ref.key)

        async def load() -> AdapterWeights:
            try:
                weights = await asyncio.to_thread(self._load, ref)
                self._kept[ref.header.sha256] = weights
                self._evict()
                return weights
            finally:
                del self._loading[name]

        task = self._loading[name] = asyncio.create_task(load())
        return task

    def _evict(self) -> None:
        """Least recently used first; what is held stays, even beyond the budget."""
        kept = list(self._kept.items())
        size = sum(weights.nbytes for _, weights in kept)
        for name, weights in kept:
            if size <= self.budget:
                break
            if not self._held[name]:
                size -= weights.nbytes
                self._kept.pop(name, None)

    def _load(self, ref: AdapterRef) -> AdapterWeights:
        if local := self._local(ref.header):
            self._found("model store")
            return local
        self._found("storage")
        return self._stored(ref)

    def _found(self, where: str) -> None:
        metrics.ADAPTERS.labels(self._backend, where).inc()

    def _local(self, header: Header) -> AdapterWeights | None:
        """From the Bento model store, unless it is not there or damaged."""
        data = bento_store.load(header)
        if data is None:
            return None
        try:
            return self._decoded(data, header)
        except InvalidAdapter as reason:
            log.warning("%s in the model store is not used: %s", header.lora_id, reason)
            bento_store.discard(header)
            return None

    def _stored(self, ref: AdapterRef) -> AdapterWeights:
        """From storage, and into the Bento model store."""
        header = ref.header
        data = self.library.read(StoredAdapter(ref.key, header, 0, ref.spares))
        try:
            weights = self._decoded(data, header)
        except InvalidAdapter as reason:
            raise Refusal(404, f"lora_id: {header.lora_id} cannot be used: {reason}") from reason
        self._saver.submit(bento_store.save, header, data)  # nobody waits for that
        return weights

    def _decoded(self, data: bytes, header: Header) -> AdapterWeights:
        weights = decode(data, self.model)
        if weights.header.sha256 != header.sha256:
            raise InvalidAdapter("it was replaced meanwhile; send the request again")
        return weights
