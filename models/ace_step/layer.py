"""A layer of the transformer over tokens of several streams, in as few operations as there are to launch."""

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
from models.fused_linear import Product

# What of a layer is one product, by the name under which adapters are kept for it.
GROUPS = {
    "self_attn.qkv": ("self_attn.to_q", "self_attn.to_k", "self_attn.to_v"),
    "self_attn.to_out.0": ("self_attn.to_out.0",),
    "cross_attn.to_q": ("cross_attn.to_q",),
    "cross_attn.to_out.0": ("cross_attn.to_out.0",),
    "mlp.gate_up": ("mlp.gate_proj", "mlp.up_proj"),
    "mlp.down_proj": ("mlp.down_proj",),
}


@dataclass(frozen=True)
class Layer:
    """A layer as a pack uses it.

    Attributes:
        module: diffusers' `AceStepTransformerBlock`.
        products: by the names of `GROUPS`.
        norm: the weights of the norms of queries and keys, `[heads + kv heads, head]`.
        window: of its attention; `None` where that sees everything.
    """

    module: Any
    products: Mapping[str, Product]
    norm: Tensor
    window: int | None


def layer(root: Any, index: int, pairs: Pairs, weights: Weights) -> Layer:
    """The transformer's layer `index` with the adapters' pairs by group and the weights by layer."""
    module, name = root.layers[index], f"layers.{index}"
    products = {
        group: Product.of(root, [f"{name}.{part}" for part in parts], weights, pairs.get(f"{name}.{group}"))
        for group, parts in GROUPS.items()
    }
    own = module.self_attn
    norm = torch.cat([own.norm_q.weight.expand(own.heads, -1), own.norm_k.weight.expand(own.kv_heads, -1)])
    sliding = root.layer_types[index] == "sliding_attention"
    return Layer(module, products, norm, root.config.sliding_window if sliding else None)


def into_attention(
    own: Layer, h: Tensor, modulation: Tensor, rotary: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values of the self-attention, `[N, heads, head]` each."""
    module = own.module.self_attn
    x = torch.addcmul(modulation[:, 0, None], rms_norm(own.module.self_attn_norm, h), modulation[:, 1, None])
    heads = own.products["self_attn.qkv"](x).view(-1, module.heads + 2 * module.kv_heads, module.head_dim)
    turned, value = heads.split([module.heads + module.kv_heads, module.kv_heads], dim=1)
    # In half precision rounded once here, and again where the stock model is.
    turned = F.rms_norm(turned, turned.shape[-1:], eps=module.norm_q.eps) * own.norm
    query, key = rotated(turned, rotary).split([module.heads, module.kv_heads], dim=1)
    return query, key, value


def between_attentions(own: Layer, h: Tensor, attended: Tensor, modulation: Tensor) -> tuple[Tensor, Tensor]:
    """`h` with what was attended to, and the queries `[N, heads, head]` of the cross-attention."""
    module = own.module.cross_attn
    h = torch.addcmul(h, own.products["self_attn.to_out.0"](attended.view(*h.shape[:2], -1)), modulation[:, 2, None])
    query = own.products["cross_attn.to_q"](rms_norm(own.module.cross_attn_norm, h))
    return h, rms_norm(module.norm_q, query.view(-1, module.heads, module.head_dim))


def after_attention(own: Layer, h: Tensor, attended: Tensor, modulation: Tensor) -> Tensor:
    """The layer's output."""
    h = h + own.products["cross_attn.to_out.0"](attended.view(*h.shape[:2], -1))
    x = torch.addcmul(modulation[:, 3, None], rms_norm(own.module.mlp_norm, h), modulation[:, 4, None])
    gated, x = own.products["mlp.gate_up"](x).chunk(2, dim=-1)
    return torch.addcmul(h, own.products["mlp.down_proj"](F.silu(gated) * x), modulation[:, 5, None])


class Parts(NamedTuple):
    """What lies around a layer's two attentions, or what was compiled of it."""

    into: Callable[..., tuple[Tensor, Tensor, Tensor]] = into_attention
    between: Callable[..., tuple[Tensor, Tensor]] = between_attentions
    after: Callable[..., Tensor] = after_attention


PLAIN = Parts()


def forward(
    own: Layer,
    h: Tensor,
    modulation: Tensor,
    rotary: tuple[Tensor, Tensor],
    attention: Attention,
    conditions: Sequence[KeyValue],
    parts: Parts = PLAIN,
) -> Tensor:
    """The layer's output for `h` `[blocks, block, D]`.

    Args:
        modulation: `[blocks, 6, D]`: shift, 1 + scale, and gate of the self-attention, and of the MLP.
        conditions: this layer's, of `attention.conditions`.
    """
    query, key, value = parts.into(own, h, modulation, rotary)
    h, across = parts.between(own, h, attention.within(query, key, value, own.window), modulation)
    return parts.after(own, h, attention.across(across, conditions), modulation)


def rotated(x: Tensor, rotary: tuple[Tensor, Tensor]) -> Tensor:
    """`[N, heads, head]` turned by its positions, computed in single precision."""
    cos, sin = rotary
    exact = x.float()
    return torch.addcmul(exact * cos, exact.roll(exact.shape[-1] // 2, -1), sin).type_as(x)


def rms_norm(module: Any, x: Tensor) -> Tensor:
    """`module`'s result by torch's own norm, one operation on a GPU, where diffusers' is many."""
    return module(x) if isinstance(module, torch.nn.RMSNorm) else F.rms_norm(x, module.dim, module.weight, module.eps)


def fuse_norms(root: torch.nn.Module) -> None:
    """Put torch's norm, with the same weight, in the place of every one of diffusers'."""
    for parent in list(root.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, RMSNorm) and child.weight is not None and child.bias is None:
                norm = torch.nn.RMSNorm(tuple(child.dim), child.eps, device="meta")
                norm.weight = child.weight
                setattr(parent, name, norm)
