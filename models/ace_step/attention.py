"""Attention within each of the streams that are packed into one sequence."""

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

# Largest difference between the kernel and the reference in half precision, for values around 1.
_TOLERANCE = 0.03
# GPU kernels copy a mask at each call unless its rows begin at multiples of this many elements.
_MASK_ALIGNMENT = 16


class Attention(Protocol):
    """Attention of packed streams. Queries, keys and values are `[N, heads, D]`, where N includes padding.

    Attributes:
        conditions: each layer's keys and values of the streams' conditions, as `cross_attention` takes them.
    """

    @property
    def conditions(self) -> Sequence[Sequence[KeyValue]]: ...

    def self_attention(self, query: Tensor, key: Tensor, value: Tensor, window: int | None) -> Tensor:
        """Attend to the tokens of the same stream, at most `window` tokens away if given. Returns `[N, heads · D]`."""
        ...

    def cross_attention(self, query: Tensor, conditions: Sequence[KeyValue]) -> Tensor:
        """Attend to the stream's condition. Returns `[N, heads · D]`."""
        ...


def attention(
    tokens: Sequence[int], padded: Sequence[int], condition_kv: Sequence[Sequence[KeyValue]], heads: int, window: int
) -> Attention:
    """The fastest implementation that the device supports.

    Args:
        tokens: number of tokens of each stream.
        padded: the same with padding.
        condition_kv: for each stream, each layer's key and value of its condition, `[1, kv heads, L, D]`.
        heads: number of query heads.
        window: sliding window of the layers that have one, in tokens to either side.
    """
    key = condition_kv[0][0][0]
    if not torch.is_grad_enabled() and has_varlen(key.device, key.dtype, heads, key.shape[1], key.shape[-1]):
        return VarlenAttention(tokens, padded, condition_kv)
    return PerStreamAttention(tokens, padded, condition_kv, window)


@cache
def has_varlen(device: torch.device, dtype: torch.dtype, heads: int, kv_heads: int, size: int) -> bool:
    """Whether the device has variable-length flash attention with a sliding window, and it computes correctly."""
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
        varlen = VarlenAttention(tokens, padded, condition)  # type: ignore[arg-type]
        reference = PerStreamAttention(tokens, padded, condition, window)  # type: ignore[arg-type]
        results = [
            (varlen.self_attention(q, k, v, window), reference.self_attention(q, k, v, window)),
            (varlen.self_attention(q, k, v, None), reference.self_attention(q, k, v, None)),
            (varlen.cross_attention(q, varlen.conditions[0]), reference.cross_attention(q, reference.conditions[0])),
        ]
        not_padding = torch.cat([torch.arange(40), torch.arange(48, 55)]).to(device)
        differences = [(one[not_padding] - other[not_padding]).abs().max() for one, other in results]
        return all(bool(difference < _TOLERANCE) for difference in differences)
    except RuntimeError:  # a GPU for which the kernel was not built
        return False


class VarlenAttention:
    """One variable-length flash attention kernel for all streams. It skips scores outside of the window."""

    def __init__(
        self, tokens: Sequence[int], padded: Sequence[int], condition_kv: Sequence[Sequence[KeyValue]]
    ) -> None:
        device = condition_kv[0][0][0].device
        # A stream's padding is a sequence of its own, so that the packed tensors need not be split.
        lengths = [n for count, whole in zip(tokens, padded, strict=True) for n in (count, whole - count) if n]
        self._within, self._longest = _bounds(lengths, device), max(lengths)
        self._rows, self._longest_row = _bounds(padded, device), max(padded)
        lengths = [layers[0][0].shape[2] for layers in condition_kv]
        self._conditions, self._longest_condition = _bounds(lengths, device), max(lengths)
        self.conditions = [[_concatenated(each)] for each in zip(*condition_kv, strict=True)]

    def self_attention(self, query: Tensor, key: Tensor, value: Tensor, window: int | None) -> Tensor:
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

    def cross_attention(self, query: Tensor, conditions: Sequence[KeyValue]) -> Tensor:
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


def _concatenated(parts: Sequence[KeyValue]) -> KeyValue:
    """Concatenate the streams' keys and values `[1, heads, L, D]` to `[total L, heads, D]`."""
    key, value = (torch.cat([part[which][0].transpose(0, 1) for part in parts]) for which in range(2))
    return key, value


def _bounds(lengths: Sequence[int], device: torch.device) -> Tensor:
    """Cumulative lengths: where each sequence begins, and the last one ends."""
    return torch.tensor(list(accumulate(lengths, initial=0)), dtype=torch.int32, device=device)


class PerStreamAttention:
    """`scaled_dot_product_attention` of one stream after the other, on devices without the kernel."""

    def __init__(
        self, tokens: Sequence[int], padded: Sequence[int], condition_kv: Sequence[Sequence[KeyValue]], window: int
    ) -> None:
        self._tokens, self._padded = list(tokens), list(padded)
        self.conditions = list(zip(*condition_kv, strict=True))
        key = condition_kv[0][0][0]
        self._masks = {n: _sliding_window_mask(n, window, key) for n in set(tokens)}

    def self_attention(self, query: Tensor, key: Tensor, value: Tensor, window: int | None) -> Tensor:
        parts = (self._streams(part) for part in (query, key, value))
        return self._packed(
            [
                _attend(q, k, v, None if window is None else self._masks[q.shape[2]])
                for q, k, v in zip(*parts, strict=True)
            ]
        )

    def cross_attention(self, query: Tensor, conditions: Sequence[KeyValue]) -> Tensor:
        rows = zip(self._streams(query), conditions, strict=True)
        return self._packed([_attend(q, key, value, None) for q, (key, value) in rows])

    def _streams(self, x: Tensor) -> list[Tensor]:
        """Split `[N, heads, D]` into the streams without padding, `[1, heads, tokens, D]` each."""
        # `split`, because its gradient is one copy; that of slices is one for each.
        parts = x.transpose(0, 1)[None].split(self._padded, dim=2)
        return [
            part if part.shape[2] == count else part.narrow(2, 0, count)
            for part, count in zip(parts, self._tokens, strict=True)
        ]

    def _packed(self, rows: Sequence[Tensor]) -> Tensor:
        """Pack the streams' `[tokens, heads · D]` into `[N, heads · D]`."""
        filled = [
            row if len(row) == whole else F.pad(row, (0, 0, 0, whole - len(row)))
            for row, whole in zip(rows, self._padded, strict=True)
        ]
        return filled[0] if len(filled) == 1 else torch.cat(filled)


def _attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """Attend with `[1, heads, N, D]` each. Returns `[N, heads · D]`."""
    shared = q.shape[1] // k.shape[1]
    if mask is not None and shared > 1 and q.device.type != "cpu":
        # On a GPU only the kernel that stores all scores takes a mask with fewer heads of keys than of queries.
        k, v = (part.repeat_interleave(shared, dim=1) for part in (k, v))
        shared = 1
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=shared > 1)
    return out[0].transpose(0, 1).flatten(1)


def _sliding_window_mask(length: int, window: int, like: Tensor) -> Tensor | None:
    """The mask `[length, length]` of a sliding window, None if the window covers everything.

    It is boolean on a CPU, and on other devices 0 within the window (inclusive) and -inf outside.
    """
    if length <= window + 1:
        return None
    position = torch.arange(length, device=like.device)
    near = (position[:, None] - position[None]).abs() <= window
    if like.device.type == "cpu":
        return near
    aligned = -(-length // _MASK_ALIGNMENT) * _MASK_ALIGNMENT
    return like.new_full((length, aligned), float("-inf"))[:, :length].masked_fill_(near, 0)
