"""A runner's adapters: from storage, by way of the Bento model store, into memory, ready for a row."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from errors import Refusal
from models import bento_store
from models.adapter_file import Header, InvalidAdapter
from models.adapters import AdapterWeights, decode
from models.base import Model
from models.checkpoints import Checkpoint
from models.library import Library, Twin
from runners.messages import AdapterRef
from storage import Storage

log = logging.getLogger("producer_twin.runner")

# How many bytes of adapters stay in memory, the least recently used leaving first.
BUDGET = 2 * 2**30


class Adapters:
    """Kept by content: a twin that was trained anew is another one. For one thread at a time, as its runner is."""

    def __init__(self, storage: Storage, model: Model, checkpoint: Checkpoint) -> None:
        self.library = Library(storage)
        self._saver = ThreadPoolExecutor(1, thread_name_prefix="model-store")
        self.model = model
        self.checkpoint = checkpoint
        self._kept: OrderedDict[str, AdapterWeights] = OrderedDict()
        self._bytes = 0

    def get(self, ref: AdapterRef) -> AdapterWeights:
        """The adapter's weights.

        Raises:
            Refusal: 404 where it is gone or its file is damaged; 409 where it was trained on another checkpoint.
        """
        header = ref.header
        if header.base_sha256 != self.checkpoint.sha256:
            raise Refusal(
                409,
                f"lora_id: {header.lora_id} was trained on {header.base} as it was then; "
                f"{self.checkpoint.name} is served now: train it again",
            )
        weights = self._kept.get(header.sha256)
        if weights is None:
            weights = self._local(header) or self._stored(ref)
            self._kept[header.sha256] = weights
            self._bytes += _size(weights)
            while self._bytes > BUDGET and len(self._kept) > 1:
                self._bytes -= _size(self._kept.popitem(last=False)[1])
        self._kept.move_to_end(header.sha256)
        return weights

    def forget(self, gone: Callable[[Header], bool]) -> None:
        """Drop from memory what is gone. May be called from another thread."""
        for name, weights in list(self._kept.items()):
            if gone(weights.header) and name in self._kept:
                del self._kept[name]
                self._bytes -= _size(weights)

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
        data = self.library.read(Twin(ref.key, header, 0, ref.spares))
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


def _size(weights: AdapterWeights) -> int:
    return sum(t.numel() * t.element_size() for pair in weights.pairs.values() for t in (pair.a, pair.b))
