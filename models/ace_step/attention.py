"""Attention within each of the streams that lie end to end in one sequence."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import accumulate
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention.varlen import varlen_attn

KeyValue = tuple[Tensor, Tensor]

# Differences in half precision between a kernel and the plain products, of values around 1.
_NEAR = 0.03
# Values from a row of a mask to the next.
_ALIGNED = 16


class Attention(Protocol):
    """How the streams of a pack attend. Queries, keys and values are `[N, heads, D]`, N with the streams' padding.

    Attributes:
        conditions: each layer's keys and values of the streams' conditions, for `across`.
    """

    @property
    def conditions(self) -> Sequence[Sequence[KeyValue]]: ...

    def within(self, query: Tensor, key: Tensor, value: Tensor, window: int | None) -> Tensor:
        """Every token to those of its stream, `[N, heads · D]`; with a window, to those at most so far from it."""
        ...

    def across(self, query: Tensor, conditions: Sequence[KeyValue]) -> Tensor:
        """Every token to its stream's condition, `[N, heads · D]`."""
        ...


def attention(
    tokens: Sequence[int], padded: Sequence[int], attended: Sequence[Sequence[KeyValue]], heads: int, window: int
) -> Attention:
    """The best that there is for the device.

    Args:
        tokens: of each stream.
        padded: the same with padding.
        attended: of each stream, each layer's key and value of its condition, `[1, kv heads, L, D]`.
        heads: of the queries.
    """
    key = attended[0][0][0]
    if not torch.is_grad_enabled() and has_varlen(key.device, key.dtype, heads, key.shape[1], key.shape[-1]):
        return Varlen(tokens, padded, attended)
    return ByStream(tokens, padded, attended, window)


@cache
def has_varlen(device: torch.device, dtype: torch.dtype, heads: int, kv_heads: int, size: int) -> bool:
    """Whether flash attention over sequences of different lengths, with a window, is there and right."""
    if device.type != "cuda" or dtype not in (torch.float16, torch.bfloat16) or not torch.cuda.is_available():
        return False
    generator = torch.Generator().manual_seed(0)
    tokens, padded, window = [40, 7], [48, 16], 5
    q, k, v = (
        torch.randn(sum(padded), count, size, generator=generator).to(device, dtype)
        for count in (heads, kv_heads, kv_heads)
    )
    condition = [[tuple(part[None, :9].transpose(1, 2) for part in (k, v))], [(k[None].transpose(1, 2),) * 2]]
    try:
        ours, plain = Varlen(tokens, padded, condition), ByStream(tokens, padded, condition, window)  # type: ignore[arg-type]
        pairs = [
            (ours.within(q, k, v, window), plain.within(q, k, v, window)),
            (ours.within(q, k, v, None), plain.within(q, k, v, None)),
            (ours.across(q, ours.conditions[0]), plain.across(q, plain.conditions[0])),
        ]
        known = torch.cat([torch.arange(40), torch.arange(48, 55)]).to(device)
        return all(bool((one[known] - other[known]).abs().max() < _NEAR) for one, other in pairs)
    except RuntimeError:  # a GPU for which the kernel was not built
        return False


class Varlen:
    """One kernel for all streams, which skips what lies outside of the window."""

    def __init__(self, tokens: Sequence[int], padded: Sequence[int], attended: Sequence[Sequence[KeyValue]]) -> None:
        device = attended[0][0][0].device
        # A stream's padding is a sequence of its own, so that nothing has to be taken apart.
        lengths = [n for count, whole in zip(tokens, padded, strict=True) for n in (count, whole - count) if n]
        self._within, self._longest = _bounds(lengths, device), max(lengths)
        self._rows, self._longest_row = _bounds(padded, device), max(padded)
        lengths = [layers[0][0].shape[2] for layers in attended]
        self._conditions, self._longest_condition = _bounds(lengths, device), max(lengths)
        self.conditions = [[_end_to_end(each)] for each in zip(*attended, strict=True)]

    def within(self, query: Tensor, key: Tensor, value: Tensor, window: int | None) -> Tensor:
        out = varlen_attn(
            query,
            key,
            value,
            self._within,
            self._within,
            self._longest,
            self._longest,
            window_size=(-1, -1) if window is None else (window, window),
            enable_gqa=query.shape[1] != key.shape[1],
        )
        assert isinstance(out, Tensor)
        return out.flatten(1)

    def across(self, query: Tensor, conditions: Sequence[KeyValue]) -> Tensor:
        ((key, value),) = conditions
        out = varlen_attn(
            query,
            key,
            value,
            self._rows,
            self._conditions,
            self._longest_row,
            self._longest_condition,
            enable_gqa=query.shape[1] != key.shape[1],
        )
        assert isinstance(out, Tensor)
        return out.flatten(1)


def _end_to_end(parts: Sequence[KeyValue]) -> KeyValue:
    """Each stream's key and value `[1, heads, L, D]` as one of each, `[L of all, heads, D]`."""
    key, value = (torch.cat([part[which][0].transpose(0, 1) for part in parts]) for which in range(2))
    return key, value


def _bounds(lengths: Sequence[int], device: torch.device) -> Tensor:
    """Where each sequence begins, and the last one ends."""
    return torch.tensor(list(accumulate(lengths, initial=0)), dtype=torch.int32, device=device)


class ByStream:
    """One stream after the other, where there is no such kernel."""

    def __init__(
        self, tokens: Sequence[int], padded: Sequence[int], attended: Sequence[Sequence[KeyValue]], window: int
    ) -> None:
        self._tokens, self._padded = list(tokens), list(padded)
        self.conditions = list(zip(*attended, strict=True))
        key = attended[0][0][0]
        self._bands = {n: _band(n, window, key) for n in set(tokens)}

    def within(self, query: Tensor, key: Tensor, value: Tensor, window: int | None) -> Tensor:
        parts = (self._streams(part) for part in (query, key, value))
        return self._packed(
            [
                _attend(q, k, v, None if window is None else self._bands[q.shape[2]])
                for q, k, v in zip(*parts, strict=True)
            ]
        )

    def across(self, query: Tensor, conditions: Sequence[KeyValue]) -> Tensor:
        rows = zip(self._streams(query), conditions, strict=True)
        return self._packed([_attend(q, key, value, None) for q, (key, value) in rows])

    def _streams(self, x: Tensor) -> list[Tensor]:
        """Each stream's part of `[N, heads, D]`, without padding, `[1, heads, tokens, D]`.

        (A split's gradient is one copy; that of slices, many.)
        """
        parts = x.transpose(0, 1)[None].split(self._padded, dim=2)
        return [
            part if part.shape[2] == count else part.narrow(2, 0, count)
            for part, count in zip(parts, self._tokens, strict=True)
        ]

    def _packed(self, rows: Sequence[Tensor]) -> Tensor:
        """Each stream's `[tokens, heads · D]` as `[N, heads · D]`."""
        filled = [
            row if len(row) == whole else F.pad(row, (0, 0, 0, whole - len(row)))
            for row, whole in zip(rows, self._padded, strict=True)
        ]
        return filled[0] if len(filled) == 1 else torch.cat(filled)


def _attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """`[1, heads, N, D]` each to `[N, heads · D]`."""
    shared = q.shape[1] // k.shape[1]
    if mask is not None and shared > 1 and q.device.type != "cpu":
        # With a mask and fewer heads of keys than of queries, only the kernel that keeps all scores is left on a GPU.
        k, v = (part.repeat_interleave(shared, dim=1) for part in (k, v))
        shared = 1
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=shared > 1)
    return out[0].transpose(0, 1).flatten(1)


def _band(length: int, window: int, like: Tensor) -> Tensor | None:
    """`[length, length]`, to be added to scores: zero within the window (inclusive); none where it covers everything.

    A CPU's kernel takes it as true and false.
    """
    if length <= window + 1:
        return None
    position = torch.arange(length, device=like.device)
    near = (position[:, None] - position[None]).abs() <= window
    if like.device.type == "cpu":
        return near
    # GPUs' kernels copy a mask whose rows begin elsewhere than at multiples of this, each time.
    whole = like.new_full((length, -(-length // _ALIGNED) * _ALIGNED), float("-inf"))[:, :length]
    return whole.masked_fill_(near, 0)
