"""Merged copies of a model's weights, for adapters that have no LoRA pairs (DoRA, LoKr, LoHa, OFT).

A copy takes as much memory as the weights that it replaces: 2.8 GiB if an adapter changes every layer of ACE-Step 2B in
half precision. All rows with the same adapters share one, and rows with other adapters wait until there is memory for
theirs.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from functools import cached_property
from weakref import WeakValueDictionary

import torch

from adapters.batched_lora import RowAdapters, Weights
from adapters.weights import linear_layers

# Memory of a runner for adapters and merged copies.
MAX_BYTES = 2 * 2**30


@torch.no_grad()
def merge(root: torch.nn.Module, adapters: RowAdapters) -> dict[str, torch.Tensor]:
    """Merged copies `[out, in]` of the weights that a row's adapters change by `deltas`, by layer name."""
    layers = linear_layers(root)
    weights: dict[str, torch.Tensor] = {}
    for adapter, strength in adapters:
        for name, delta in adapter.deltas.items() if strength else ():
            base = layers[name].weight
            weights[name] = weights.get(name, base) + strength * delta.of(base)
    return weights


class _Lease(dict[str, torch.Tensor]):
    """A copy's tensors as the rows hold them; while one exists, the copy is in use."""


class MergedWeights:
    """The merged copies in memory, by the content of their adapters. Those in use are never evicted.

    Only the thread that owns the model may call `get`.

    Args:
        root: the module whose Linear layers are adapted.
        max_bytes: memory for copies. One copy is always allowed.
    """

    def __init__(self, root: torch.nn.Module, max_bytes: int = MAX_BYTES) -> None:
        self.root = root
        self._max_bytes = max_bytes
        self._lock = threading.RLock()
        self._copies: OrderedDict[Hashable, dict[str, torch.Tensor]] = OrderedDict()  # the least recently used first
        self._leases: WeakValueDictionary[Hashable, _Lease] = WeakValueDictionary()

    @property
    def nbytes(self) -> int:
        """The memory of all copies."""
        with self._lock:
            return sum(map(_nbytes, self._copies.values()))

    def has_room(self, adapters: RowAdapters) -> bool:
        """Whether a row with these adapters can start: its copy is there, or fits beside those in use."""
        key = _key(adapters)
        with self._lock:
            if key is None or key in self._copies:
                return True
            used = sum(_nbytes(self._copies[each]) for each in list(self._leases) if each in self._copies)
            return not used or used + self._needed(adapters) <= self._max_bytes

    def get(self, adapters: RowAdapters) -> Weights:
        """The merged weights by layer name, empty for adapters that need none. The caller keeps them in memory."""
        key = _key(adapters)
        if key is None:
            return {}
        with self._lock:
            copy = self._copies.get(key)
            if copy is None:
                self._evict(self._max_bytes - self._needed(adapters))
        if copy is None:
            # Without the lock, for which event loops wait.
            copy = merge(self.root, adapters)
        with self._lock:
            self._copies[key] = copy
            self._copies.move_to_end(key)
            lease = self._leases.get(key)
            if lease is None:
                lease = self._leases[key] = _Lease(copy)
            return lease

    def limit(self, max_bytes: int) -> None:
        """Set the memory for copies, and evict unused ones beyond it. Thread-safe."""
        with self._lock:
            self._max_bytes = max_bytes
            self._evict(max_bytes)

    def _evict(self, most: int) -> None:
        for key in list(self._copies):
            if self.nbytes <= most:
                return
            if key not in self._leases:
                del self._copies[key]

    def _needed(self, adapters: RowAdapters) -> int:
        names = {name for adapter, strength in adapters if strength for name in adapter.deltas}
        return sum(self._sizes[name] for name in names)

    @cached_property
    def _sizes(self) -> dict[str, int]:
        return {name: layer.weight.nbytes for name, layer in linear_layers(self.root).items()}


def _key(adapters: RowAdapters) -> Hashable | None:
    """Identifies the merged weights; None if there are none."""
    return tuple((each.identity, strength) for each, strength in adapters if strength and each.deltas) or None


def _nbytes(copy: dict[str, torch.Tensor]) -> int:
    return sum(tensor.nbytes for tensor in copy.values())
