"""The transformer over rows of different lengths, end to end in one sequence, each with its own adapter.

Every matrix product runs once for all rows; attention stays within a row; the adapters' products, the positions and
the timesteps are each row's own. A row costs what it costs alone, and its result does not depend on its neighbours.
The arithmetic is that of diffusers' `AceStepTransformer1DModel.forward`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.models.embeddings import apply_rotary_emb, get_1d_rotary_pos_embed
from diffusers.models.transformers.ace_step_transformer import AceStepAttention, AceStepTransformer1DModel
from torch import Tensor

from models.adapters import LoraPair
from models.lora_rows import add

Pairs = Mapping[str, LoraPair]
KeyValue = tuple[Tensor, Tensor]


@dataclass
class Stream:
    """One sequence through the transformer: a row's conditional or its unconditional half.

    Attributes:
        context: `[1, T, 2C]`.
        pairs: the adapter's matrices by layer.
        attended: each layer's key and value of the condition, `[1, heads, L, D]`; they are the same in all steps.
    """

    context: Tensor
    pairs: Pairs
    attended: list[KeyValue] = field(default_factory=list)


def stream(transformer: AceStepTransformer1DModel, context: Tensor, condition: Tensor, pairs: Pairs) -> Stream:
    """Prepare a sequence: everything that does not change from step to step is computed here.

    Args:
        context: `[1, T, 2C]`.
        condition: `[1, L, D]`.
    """
    name = "condition_embedder"
    embedded = add(transformer.condition_embedder(condition), condition, pairs.get(name))
    attended = []
    for index, layer in enumerate(transformer.layers):
        attention, prefix = layer.cross_attn, f"layers.{index}.cross_attn"
        key = add(attention.to_k(embedded), embedded, pairs.get(f"{prefix}.to_k"))
        value = add(attention.to_v(embedded), embedded, pairs.get(f"{prefix}.to_v"))
        key = attention.norm_k(key.unflatten(-1, (attention.kv_heads, attention.head_dim)))
        value = value.unflatten(-1, (attention.kv_heads, attention.head_dim))
        attended.append((key.transpose(1, 2), value.transpose(1, 2)))
    return Stream(context, pairs, attended)


def velocities(
    transformer: AceStepTransformer1DModel,
    streams: Sequence[Stream],
    latents: Sequence[Tensor],
    timesteps: Sequence[float],
) -> list[Tensor]:
    """The predicted velocity of every stream.

    Args:
        latents: noisy latents, `[1, T, C]` each, T its own.
        timesteps: in [0, 1], one a stream.

    Returns:
        `[1, T, C]` each.
    """
    return _Pack(transformer, streams, latents).forward(timesteps)


class _Pack:
    def __init__(
        self, transformer: AceStepTransformer1DModel, streams: Sequence[Stream], latents: Sequence[Tensor]
    ) -> None:
        self.transformer = transformer
        self.streams = streams
        self.lengths = [x.shape[1] for x in latents]
        patch = transformer.patch_size
        patches = [-(-length // patch) for length in self.lengths]
        self.spans = list(pairwise([0, *accumulate(patches)]))
        self.frames = torch.cat(
            [
                F.pad(torch.cat([s.context, x], dim=-1), (0, 0, 0, -x.shape[1] % patch))
                for s, x in zip(streams, latents, strict=True)
            ],
            dim=1,
        )
        device, dtype = self.frames.device, self.frames.dtype
        self.owner = torch.repeat_interleave(
            torch.arange(len(streams), device=device), torch.tensor(patches, device=device)
        )
        positions = torch.cat([torch.arange(n, device=device, dtype=torch.float32) for n in patches])
        cos, sin = get_1d_rotary_pos_embed(
            transformer.head_dim,
            positions,
            theta=transformer.rope_theta,
            use_real=True,
            repeat_interleave_real=False,
        )
        self.rotary = (cos.to(dtype), sin.to(dtype))
        self.bands = {n: _band(n, transformer.config.sliding_window, device) for n in set(patches)}

    def forward(self, timesteps: Sequence[float]) -> list[Tensor]:
        dit = self.transformer
        t = torch.tensor(timesteps, device=self.frames.device, dtype=torch.float32).to(self.frames.dtype)
        embedding, modulation = (
            one + two
            for one, two in zip(
                self._time("time_embed", dit.time_embed, t),
                self._time("time_embed_r", dit.time_embed_r, t - t),
                strict=True,
            )
        )
        h = dit.proj_in_conv(self.frames.transpose(1, 2)).transpose(1, 2)
        for index, layer in enumerate(dit.layers):
            h = self._block(f"layers.{index}", index, layer, h, modulation)
        shift, scale = self._per_token(dit.scale_shift_table + embedding.unsqueeze(1))
        h = (dit.norm_out(h) * (1 + scale) + shift).type_as(h)
        frames = dit.proj_out_conv(h.transpose(1, 2)).transpose(1, 2)
        patch = dit.patch_size
        return [
            frames[:, start * patch : start * patch + length]
            for (start, _), length in zip(self.spans, self.lengths, strict=True)
        ]

    def _time(self, name: str, module: Any, t: Tensor) -> tuple[Tensor, Tensor]:
        rows = list(pairwise(range(len(self.streams) + 1)))
        x = module.time_sinusoid(t * module.scale).to(t.dtype)[None]
        x = module.act1(self._linear(f"{name}.linear_1", module.linear_1, x, rows))
        x = self._linear(f"{name}.linear_2", module.linear_2, x, rows)
        modulation = self._linear(f"{name}.time_proj", module.time_proj, module.act2(x), rows)
        return x[0], modulation[0].unflatten(1, (6, -1))

    def _block(self, name: str, index: int, layer: Any, h: Tensor, modulation: Tensor) -> Tensor:
        shift, scale, gate, shift_mlp, scale_mlp, gate_mlp = self._per_token(layer.scale_shift_table + modulation)
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
        query = self._heads(f"{name}.to_q", attention.to_q, x, attention.heads)
        key = self._heads(f"{name}.to_k", attention.to_k, x, attention.kv_heads)
        value = self._heads(f"{name}.to_v", attention.to_v, x, attention.kv_heads).transpose(1, 2)
        query, key = (
            apply_rotary_emb(norm(part), self.rotary, use_real=True, use_real_unbind_dim=-2, sequence_dim=1)
            for norm, part in ((attention.norm_q, query), (attention.norm_k, key))
        )
        query, key = query.transpose(1, 2), key.transpose(1, 2)
        rows = [
            _attend(
                attention,
                query[:, :, start:end],
                key[:, :, start:end],
                value[:, :, start:end],
                self.bands[end - start] if sliding else None,
            )
            for start, end in self.spans
        ]
        return self._linear(f"{name}.to_out.0", attention.to_out[0], torch.cat(rows, dim=1))

    def _cross_attention(self, name: str, attention: AceStepAttention, x: Tensor, index: int) -> Tensor:
        query = attention.norm_q(self._heads(f"{name}.to_q", attention.to_q, x, attention.heads)).transpose(1, 2)
        rows = [
            _attend(attention, query[:, :, start:end], *stream.attended[index], None)
            for stream, (start, end) in zip(self.streams, self.spans, strict=True)
        ]
        return self._linear(f"{name}.to_out.0", attention.to_out[0], torch.cat(rows, dim=1))

    def _heads(self, name: str, layer: Any, x: Tensor, heads: int) -> Tensor:
        """`[1, N, heads, D]`."""
        return self._linear(name, layer, x).unflatten(-1, (heads, self.transformer.head_dim))

    def _linear(self, name: str, layer: Any, x: Tensor, spans: Sequence[tuple[int, int]] | None = None) -> Tensor:
        """One product for all rows, then each row's adapter on its own span of `[1, N, in]`."""
        y: Tensor = layer(x)
        for stream, (start, end) in zip(self.streams, spans or self.spans, strict=True):
            pair = stream.pairs.get(name)
            if pair is not None:
                y[:, start:end] += (x[:, start:end] @ pair.a) @ pair.b
        return y

    def _per_token(self, modulation: Tensor) -> tuple[Tensor, ...]:
        """`[streams, k, D]` to k tensors `[1, N, D]`, each token with its own stream's values."""
        return tuple(part[self.owner][None] for part in modulation.unbind(dim=1))


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
