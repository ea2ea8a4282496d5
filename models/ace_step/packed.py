"""The transformer over rows of different lengths, end to end in one sequence, each with its own adapter.

Every matrix product runs once for all rows; attention stays within a row; the adapters' products, the positions and
the timesteps are each row's own. A row costs what it costs alone, and its result does not depend on its neighbours.
The arithmetic is that of diffusers' `AceStepTransformer1DModel.forward`.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.models.embeddings import apply_rotary_emb, get_1d_rotary_pos_embed
from diffusers.models.transformers.ace_step_transformer import AceStepAttention, AceStepTransformer1DModel
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from models.adapters import LoraPair
from models.base import completed
from models.lora_rows import Pairs, Weights, add, linear, stacks

KeyValue = tuple[Tensor, Tensor]

# Tokens of padding that are worth having fewer blocks, as a part of all; and the block that always pads little.
_PADDING = 0.02
_SMALLEST_BLOCK = 32
# Bytes that a pack's copies of adapters may take; beyond, a layer's are made when it is their turn.
_COPIES = 2**29


@dataclass
class Stream:
    """One sequence through the transformer: a row's conditional or its unconditional half.

    Attributes:
        context: `[1, T, 2C]`.
        pairs: the adapter's matrices by layer.
        weights: of layers that have others than the model's own.
        attended: each layer's key and value of the condition, `[1, heads, L, D]`; they are the same in all steps.
    """

    context: Tensor
    pairs: Pairs
    weights: Weights = field(default_factory=dict)
    attended: list[KeyValue] = field(default_factory=list)


def stream(
    transformer: AceStepTransformer1DModel,
    context: Tensor,
    condition: Tensor,
    pairs: Pairs,
    weights: Weights | None = None,
) -> Stream:
    """Prepare a sequence: everything that does not change from step to step is computed here.

    Args:
        context: `[1, T, 2C]`.
        condition: `[1, L, D]`.
    """
    result = Stream(context, pairs, weights or {})

    def apply(name: str, layer: Any, x: Tensor) -> Tensor:
        return add(linear(layer, x, result.weights.get(name)), x, pairs.get(name))

    embedded = apply("condition_embedder", transformer.condition_embedder, condition)
    for index, layer in enumerate(transformer.layers):
        attention, prefix = layer.cross_attn, f"layers.{index}.cross_attn"
        key = apply(f"{prefix}.to_k", attention.to_k, embedded)
        value = apply(f"{prefix}.to_v", attention.to_v, embedded)
        key = attention.norm_k(key.unflatten(-1, (attention.kv_heads, attention.head_dim)))
        value = value.unflatten(-1, (attention.kv_heads, attention.head_dim))
        result.attended.append((key.transpose(1, 2), value.transpose(1, 2)))
    return result


def streams(
    transformer: AceStepTransformer1DModel, contexts: Sequence[Tensor], conditions: Sequence[Tensor]
) -> list[Stream]:
    """Several sequences without adapters of their own, prepared in one go."""
    together = stream(transformer, contexts[0], torch.cat(list(conditions), dim=1), {})
    lengths = [condition.shape[1] for condition in conditions]
    # [layer][stream] of (key, value)
    parts = [list(zip(k.split(lengths, dim=2), v.split(lengths, dim=2), strict=True)) for k, v in together.attended]
    return [Stream(context, {}, attended=[layer[row] for layer in parts]) for row, context in enumerate(contexts)]


class Pack:
    """Streams that go through the transformer together, until one of them leaves. All have the same `weights`.

    Each takes a whole number of blocks of tokens, and everything that is a stream's own (its adapter, its modulation)
    is a block's own, so that no operation runs once for each stream but attention.
    """

    def __init__(self, transformer: AceStepTransformer1DModel, streams: Sequence[Stream]) -> None:
        self.transformer = transformer
        self.streams = streams
        self.weights = streams[0].weights
        self.lengths = [stream.context.shape[1] for stream in streams]
        self.tokens = [-(-length // transformer.patch_size) for length in self.lengths]
        self.block = _block(self.tokens)
        blocks = [-(-count // self.block) for count in self.tokens]
        self.padded = [self.block * count for count in blocks]
        device, dtype = streams[0].context.device, streams[0].context.dtype
        self.owner = torch.repeat_interleave(
            torch.arange(len(streams), device=device), torch.tensor(blocks, device=device)
        )
        positions = torch.cat([torch.arange(n * self.block, device=device, dtype=torch.float32) for n in blocks])
        cos, sin = get_1d_rotary_pos_embed(
            transformer.head_dim,
            positions,
            theta=transformer.rope_theta,
            use_real=True,
            repeat_interleave_real=False,
        )
        self.rotary = (cos.to(dtype), sin.to(dtype))
        self.bands = {n: _band(n, transformer.config.sliding_window, device) for n in set(self.tokens)}
        self.pairs = self._stacks()

    def velocities(self, latents: Sequence[Tensor], timesteps: Sequence[float]) -> list[Tensor]:
        """The predicted velocity of every stream, `[1, T, C]` each.

        Args:
            latents: noisy latents, `[1, T, C]` each, T its own.
            timesteps: in [0, 1], one a stream.
        """
        return completed(self.forward(latents, timesteps))

    def forward(self, latents: Sequence[Tensor], timesteps: Sequence[float]) -> Generator[None, None, list[Tensor]]:
        """`velocities`, with a pause after each layer."""
        dit = self.transformer
        frames = self._frames(latents)
        t = torch.tensor(timesteps, device=frames.device, dtype=torch.float32).to(frames.dtype)
        times = (self._time("time_embed", dit.time_embed, t), self._time("time_embed_r", dit.time_embed_r, t - t))
        embedding, modulation = (one + two for one, two in zip(*times, strict=True))
        h = dit.proj_in_conv(frames.transpose(1, 2)).transpose(1, 2)
        h = h.reshape(-1, self.block, h.shape[-1])
        for index, layer in enumerate(dit.layers):
            arguments = (f"layers.{index}", index, layer, h, modulation)
            if dit.gradient_checkpointing and torch.is_grad_enabled():
                h = checkpoint(self._layer, *arguments, use_reentrant=False)
            else:
                h = self._layer(*arguments)
            yield
        shift, scale = self._of_blocks(dit.scale_shift_table + embedding.unsqueeze(1))
        h = (dit.norm_out(h) * (1 + scale) + shift).type_as(h)
        frames = dit.proj_out_conv(h.reshape(1, -1, h.shape[-1]).transpose(1, 2)).transpose(1, 2)
        return self._unpacked(frames, [count * dit.patch_size for count in self.padded], self.lengths)

    def _stacks(self) -> Pairs:
        """Every adapted layer's matrices: one of each a block, copied once, unless that would take much memory.

        A layer that sees timesteps has one a stream, as all have where a stream is a block.
        """
        pairs = stacks(self.transformer, [stream.pairs for stream in self.streams])
        copied = sum((pair.a[0].nbytes + pair.b[0].nbytes) * len(self.owner) for pair in pairs.values())
        if len(self.owner) == len(self.streams) or copied > _COPIES:
            return pairs
        return {name: pair if _sees_time(name) else self._by_block(pair) for name, pair in pairs.items()}

    def _by_block(self, pair: LoraPair) -> LoraPair:
        """`[streams, …]` to `[blocks, …]`."""
        return LoraPair(pair.a[self.owner], pair.b[self.owner])

    def _frames(self, latents: Sequence[Tensor]) -> Tensor:
        """Context and latents of all streams end to end, each padded to its blocks, `[1, N · patch, 3C]`."""
        unit = self.block * self.transformer.patch_size
        return torch.cat(
            [
                F.pad(torch.cat([stream.context, x], dim=-1), (0, 0, 0, -x.shape[1] % unit))
                for stream, x in zip(self.streams, latents, strict=True)
            ],
            dim=1,
        )

    def _time(self, name: str, module: Any, t: Tensor) -> tuple[Tensor, Tensor]:
        """`[streams, D]` and `[streams, 6, D]` of the timesteps `[streams]`."""
        x = module.time_sinusoid(t * module.scale).to(t.dtype)[:, None]
        x = module.act1(self._linear(f"{name}.linear_1", module.linear_1, x))
        x = self._linear(f"{name}.linear_2", module.linear_2, x)
        modulation = self._linear(f"{name}.time_proj", module.time_proj, module.act2(x))
        return x[:, 0], modulation[:, 0].unflatten(1, (6, -1))

    def _layer(self, name: str, index: int, layer: Any, h: Tensor, modulation: Tensor) -> Tensor:
        shift, scale, gate, shift_mlp, scale_mlp, gate_mlp = self._of_blocks(layer.scale_shift_table + modulation)
        x = (layer.self_attn_norm(h) * (1 + scale) + shift).type_as(h)
        sliding = self.transformer.layer_types[index] == "sliding_attention"
        h = (h + self._self_attention(f"{name}.self_attn", layer.self_attn, x, sliding) * gate).type_as(h)
        x = layer.cross_attn_norm(h).type_as(h)
        h = h + self._cross_attention(f"{name}.cross_attn", layer.cross_attn, x, index)
        x = (layer.mlp_norm(h) * (1 + scale_mlp) + shift_mlp).type_as(h)
        gated = F.silu(self._linear(f"{name}.mlp.gate_proj", layer.mlp.gate_proj, x))
        x = gated * self._linear(f"{name}.mlp.up_proj", layer.mlp.up_proj, x)
        return (h + self._linear(f"{name}.mlp.down_proj", layer.mlp.down_proj, x) * gate_mlp).type_as(h)

    def _self_attention(self, name: str, attention: AceStepAttention, x: Tensor, sliding: bool) -> Tensor:
        query = attention.norm_q(self._heads(f"{name}.to_q", attention.to_q, x, attention.heads))
        key = attention.norm_k(self._heads(f"{name}.to_k", attention.to_k, x, attention.kv_heads))
        value = self._heads(f"{name}.to_v", attention.to_v, x, attention.kv_heads)
        query, key = (
            apply_rotary_emb(part, self.rotary, use_real=True, use_real_unbind_dim=-2, sequence_dim=1)
            for part in (query, key)
        )
        parts = (self._unpacked(part.transpose(1, 2), self.padded, self.tokens, dim=2) for part in (query, key, value))
        rows = [
            _attend(attention, q, k, v, self.bands[q.shape[2]] if sliding else None)
            for q, k, v in zip(*parts, strict=True)
        ]
        return self._linear(f"{name}.to_out.0", attention.to_out[0], self._in_blocks(rows))

    def _cross_attention(self, name: str, attention: AceStepAttention, x: Tensor, index: int) -> Tensor:
        query = attention.norm_q(self._heads(f"{name}.to_q", attention.to_q, x, attention.heads))
        queries = self._unpacked(query.transpose(1, 2), self.padded, self.tokens, dim=2)
        rows = [
            _attend(attention, q, *stream.attended[index], None)
            for q, stream in zip(queries, self.streams, strict=True)
        ]
        return self._linear(f"{name}.to_out.0", attention.to_out[0], self._in_blocks(rows))

    @staticmethod
    def _unpacked(x: Tensor, padded: Sequence[int], lengths: Sequence[int], dim: int = 1) -> list[Tensor]:
        """Each stream's part along `dim`, without padding. (A split's gradient is one copy; that of slices, many.)"""
        parts = x.split(list(padded), dim=dim)
        return [
            part if part.shape[dim] == length else part.narrow(dim, 0, length)
            for part, length in zip(parts, lengths, strict=True)
        ]

    def _heads(self, name: str, layer: Any, x: Tensor, heads: int) -> Tensor:
        """`[blocks, block, D]` to `[1, N, heads, head]`."""
        return self._linear(name, layer, x).reshape(1, -1, heads, self.transformer.head_dim)

    def _in_blocks(self, rows: Sequence[Tensor]) -> Tensor:
        """Each stream's `[1, tokens, D]` to `[blocks, block, D]`."""
        padded = [F.pad(row, (0, 0, 0, -row.shape[1] % self.block)) for row in rows]
        return torch.cat(padded, dim=1).reshape(-1, self.block, rows[0].shape[-1])

    def _linear(self, name: str, layer: Any, x: Tensor) -> Tensor:
        """One product for all streams, and two for all their adapters, on `[blocks, block, in]`."""
        y = linear(layer, x, self.weights.get(name))
        pair = self.pairs.get(name)
        if pair is not None and len(pair.a) != len(x):
            pair = self._by_block(pair)
        return y if pair is None else torch.baddbmm(y, torch.bmm(x, pair.a), pair.b)

    def _of_blocks(self, modulation: Tensor) -> tuple[Tensor, ...]:
        """`[streams, k, D]` to k tensors `[blocks, 1, D]`."""
        return tuple(part[:, None] for part in modulation[self.owner].unbind(dim=1))


def _sees_time(name: str) -> bool:
    return name.startswith("time_embed")


def _block(tokens: Sequence[int]) -> int:
    """Tokens to a block: the largest number that pads the streams little, since each block holds its adapter anew."""
    total = sum(tokens)
    for size in range(max(tokens), _SMALLEST_BLOCK, -1):
        if sum(-count % size for count in tokens) <= _PADDING * total:
            return size
    return _SMALLEST_BLOCK


def _attend(attention: AceStepAttention, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """`[1, heads, N, D]` each to `[1, N, heads · D]`."""
    out = F.scaled_dot_product_attention(
        q, k, v, attn_mask=mask, scale=attention.scaling, enable_gqa=attention.heads != attention.kv_heads
    )
    return out.transpose(1, 2).flatten(2)


def _band(length: int, window: int, device: torch.device) -> Tensor | None:
    """`[length, length]`, true within the window (inclusive); none where the window covers everything."""
    if length <= window + 1:
        return None
    position = torch.arange(length, device=device)
    return (position[:, None] - position[None]).abs() <= window
