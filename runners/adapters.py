"""A runner's adapters: from storage, by way of the Bento model store, into memory, ready for a row."""

from __future__ import annotations

from collections import OrderedDict

from errors import Refusal
from models import bento_store
from models.adapter_file import InvalidAdapter
from models.adapters import AdapterWeights, decode
from models.base import Model
from models.checkpoints import Checkpoint
from runners.messages import AdapterRef
from storage import NotFound, Storage

# How many bytes of adapters stay in memory, the least recently used leaving first.
BUDGET = 2 * 2**30


class Adapters:
    """Kept by content: a twin that was trained anew is another one. For one thread at a time, as its runner is."""

    def __init__(self, storage: Storage, model: Model, checkpoint: Checkpoint) -> None:
        self.storage = storage
        self.model = model
        self.checkpoint = checkpoint
        self._kept: OrderedDict[str, AdapterWeights] = OrderedDict()
        self._bytes = 0

    def get(self, ref: AdapterRef) -> AdapterWeights:
        """The adapter's weights.

        Raises:
            Refusal: 404 where it is gone; 409 where it cannot serve with this checkpoint; 422-like damage is a 404
                as well, since then there is no such twin, saying what is wrong with the file.
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
            weights = self._load(ref)
            self._kept[header.sha256] = weights
            self._bytes += _size(weights)
            while self._bytes > BUDGET and len(self._kept) > 1:
                self._bytes -= _size(self._kept.popitem(last=False)[1])
        self._kept.move_to_end(header.sha256)
        return weights

    def _load(self, ref: AdapterRef) -> AdapterWeights:
        local = bento_store.load(ref.header)
        try:
            data = self.storage.get(ref.key) if local is None else local
            weights = decode(data, self.model)
            if weights.header.sha256 != ref.header.sha256:
                raise InvalidAdapter("it was replaced meanwhile; send the request again")
        except NotFound:
            raise Refusal(404, f"lora_id: {ref.header.lora_id} was deleted meanwhile") from None
        except InvalidAdapter as reason:
            raise Refusal(404, f"lora_id: {ref.header.lora_id} cannot be used: {reason}") from reason
        if local is None:
            bento_store.save(ref.header, data)
        return weights


def _size(weights: AdapterWeights) -> int:
    return sum(t.numel() * t.element_size() for pair in weights.pairs.values() for t in (pair.a, pair.b))
