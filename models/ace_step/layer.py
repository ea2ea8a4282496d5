"""A layer of the transformer over the tokens of packed streams, in as few kernel launches as possible."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from diffusers.models.normalization import RMSNorm
from torch import Tensor

from adapters.batched_lora import Pairs, Weights
from models.ace_step.attention import Attention, KeyValue
from models.fused_linear import FusedLinear

# Fused layer → the layers that it consists of. LoRA pairs are combined in the same way.
FUSED = {
    "self_attn.qkv": ("self_attn.to_q", "self_attn.to_k", "self_attn.to_v"),
    "self_attn.to_out.0": ("self_attn.to_out.0",),
    "cross_attn.to_q": ("cross_attn.to_q",),
    "cross_attn.to_out.0": ("cross_attn.to_out.0",),
    "mlp.gate_up": ("mlp.gate_proj", "mlp.up_proj"),
    "mlp.down_proj": ("mlp.down_proj",),
}


@dataclass(frozen=True)
class Layer:
    """A layer prepared for a pack.

    Attributes:
        module: diffusers' `AceStepTransformerBlock`.
        linears: its fused layers by the names in `FUSED`.
        qk_norm: the weights of the norms of queries and keys, `[heads + kv heads, head size]`.
        window: sliding window of its self-attention in tokens, None if it attends to everything.
    """

    module: Any
    linears: Mapping[str, FusedLinear]
    qk_norm: Tensor
    window: int | None


def prepare_layer(transformer: Any, index: int, pairs: Pairs, weights: Weights) -> Layer:
    """Prepare the transformer's layer `index` with LoRA pairs by fused layer and merged weights by layer."""
    module, name = transformer.layers[index], f"layers.{index}"
    linears = {
        fused: FusedLinear.of(transformer, [f"{name}.{part}" for part in parts], weights, pairs.get(f"{name}.{fused}"))
        for fused, parts in FUSED.items()
    }
    attn = module.self_attn
    norm = torch.cat([attn.norm_q.weight.expand(attn.heads, -1), attn.norm_k.weight.expand(attn.kv_heads, -1)])
    sliding = transformer.layer_types[index] == "sliding_attention"
    return Layer(module, linears, norm, transformer.config.sliding_window if sliding else None)


def before_self_attention(
    layer: Layer, h: Tensor, modulation: Tensor, rotary: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values of the self-attention, `[N, heads, head size]` each."""
    module = layer.module.self_attn
    x = torch.addcmul(modulation[:, 0, None], rms_norm(layer.module.self_attn_norm, h), modulation[:, 1, None])
    heads = layer.linears["self_attn.qkv"](x).view(-1, module.heads + 2 * module.kv_heads, module.head_dim)
    qk, value = heads.split([module.heads + module.kv_heads, module.kv_heads], dim=1)
    # In half precision this rounds before the multiplication and after it, as diffusers' model does.
    qk = F.rms_norm(qk, qk.shape[-1:], eps=module.norm_q.eps) * layer.qk_norm
    query, key = apply_rotary(qk, rotary).split([module.heads, module.kv_heads], dim=1)
    return query, key, value


def between_attentions(layer: Layer, h: Tensor, attended: Tensor, modulation: Tensor) -> tuple[Tensor, Tensor]:
    """`h` after the self-attention, and the queries `[N, heads, head size]` of the cross-attention."""
    module = layer.module.cross_attn
    h = torch.addcmul(h, layer.linears["self_attn.to_out.0"](attended.view(*h.shape[:2], -1)), modulation[:, 2, None])
    query = layer.linears["cross_attn.to_q"](rms_norm(layer.module.cross_attn_norm, h))
    return h, rms_norm(module.norm_q, query.view(-1, module.heads, module.head_dim))


def after_cross_attention(layer: Layer, h: Tensor, attended: Tensor, modulation: Tensor) -> Tensor:
    """The layer's output."""
    h = h + layer.linears["cross_attn.to_out.0"](attended.view(*h.shape[:2], -1))
    x = torch.addcmul(modulation[:, 3, None], rms_norm(layer.module.mlp_norm, h), modulation[:, 4, None])
    gated, x = layer.linears["mlp.gate_up"](x).chunk(2, dim=-1)
    return torch.addcmul(h, layer.linears["mlp.down_proj"](F.silu(gated) * x), modulation[:, 5, None])


class LayerFunctions(NamedTuple):
    """A layer's computations before, between and after its two attentions, compiled or not."""

    before: Callable[..., tuple[Tensor, Tensor, Tensor]] = before_self_attention
    between: Callable[..., tuple[Tensor, Tensor]] = between_attentions
    after: Callable[..., Tensor] = after_cross_attention


UNCOMPILED = LayerFunctions()


def forward(
    layer: Layer,
    h: Tensor,
    modulation: Tensor,
    rotary: tuple[Tensor, Tensor],
    attention: Attention,
    conditions: Sequence[KeyValue],
    functions: LayerFunctions = UNCOMPILED,
) -> Tensor:
    """The layer's output for `h` `[blocks, block, D]`.

    Args:
        modulation: `[blocks, 6, D]`: shift, 1 + scale, and gate of the self-attention, then of the MLP.
        rotary: cosine and signed sine of each token's position, `[N, 1, head size]` each.
        conditions: the entry of `attention.conditions` of this layer.
    """
    query, key, value = functions.before(layer, h, modulation, rotary)
    h, query = functions.between(layer, h, attention.self_attention(query, key, value, layer.window), modulation)
    return functions.after(layer, h, attention.cross_attention(query, conditions), modulation)


def apply_rotary(x: Tensor, rotary: tuple[Tensor, Tensor]) -> Tensor:
    """Apply rotary position embeddings to `[N, heads, head size]`, in single precision."""
    cos, sin = rotary
    exact = x.float()
    return torch.addcmul(exact * cos, exact.roll(exact.shape[-1] // 2, -1), sin).type_as(x)


def rms_norm(module: Any, x: Tensor) -> Tensor:
    """Compute `module` by torch's RMS norm, which is one kernel on a GPU where diffusers' is several."""
    return module(x) if isinstance(module, torch.nn.RMSNorm) else F.rms_norm(x, module.dim, module.weight, module.eps)


def fuse_norms(root: torch.nn.Module) -> None:
    """Replace each of diffusers' RMS norms under `root` by torch's, with the same weight."""
    for parent in list(root.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, RMSNorm) and child.weight is not None and child.bias is None:
                norm = torch.nn.RMSNorm(tuple(child.dim), child.eps, device="meta")
                norm.weight = child.weight
                setattr(parent, name, norm)
