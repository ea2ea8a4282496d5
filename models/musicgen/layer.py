"""A layer of the decoder, for the next position of each row, in as few kernel launches as possible."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import MusicgenForCausalLM

from adapters.batched_lora import Pairs, Weights
from adapters.weights import LoraPair
from models.fused_linear import FusedLinear

KeyValue = tuple[Tensor, Tensor]

LAYERS = "model.decoder.layers"
# Fused layer → the layers that it consists of. LoRA pairs are combined in the same way.
FUSED = {
    "self_attn.qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "self_attn.out_proj": ("self_attn.out_proj",),
    "encoder_attn.q_proj": ("encoder_attn.q_proj",),
    "encoder_attn.out_proj": ("encoder_attn.out_proj",),
    "fc1": ("fc1",),
    "fc2": ("fc2",),
}
_CROSS_ATTENTION = "encoder_attn."


def fused_layers(module: Any) -> dict[str, tuple[str, ...]]:
    """The fused layers that a decoder's layer has: those of melody checkpoints have no cross-attention."""
    return {name: parts for name, parts in FUSED.items() if hasattr(module, name.partition(".")[0])}


@dataclass(frozen=True)
class Layer:
    """A layer prepared for the decoder.

    The first half of the rows is conditional, the second unconditional (classifier-free guidance). The cross-attention
    runs for the conditional rows only.

    Attributes:
        module: transformers' `MusicgenDecoderLayer` or `MusicgenMelodyDecoderLayer`.
        linears: its fused layers by the names in `FUSED`.
    """

    module: Any
    linears: dict[str, FusedLinear]

    @property
    def reads_text(self) -> bool:
        """Whether it has a cross-attention."""
        return f"{_CROSS_ATTENTION}q_proj" in self.linears

    def of(self, row: int, slots: int) -> Layer:
        """The layer with the LoRA pairs of one row only, conditional and unconditional."""

        def select(name: str, linear: FusedLinear) -> FusedLinear:
            rows = slice(row, row + 1) if name.startswith(_CROSS_ATTENTION) else slice(row, None, slots)
            pair = linear.pair
            return linear if pair is None else replace(linear, pair=LoraPair(pair.a[rows], pair.b[rows]))

        return Layer(self.module, {name: select(name, linear) for name, linear in self.linears.items()})


def prepare_layer(
    model: MusicgenForCausalLM, index: int, pairs: Pairs, weights: Weights, conditioned_rows: int
) -> Layer:
    """Prepare layer `index` with LoRA pairs `[rows, …]` by fused layer and merged weights by layer.

    Args:
        conditioned_rows: number of rows with cross-attention.
    """
    name = f"{LAYERS}.{index}"

    def prepare(fused: str) -> FusedLinear:
        pair = pairs.get(f"{name}.{fused}")
        if pair is not None and fused.startswith(_CROSS_ATTENTION):
            pair = LoraPair(pair.a[:conditioned_rows], pair.b[:conditioned_rows])
        return FusedLinear.of(model, [f"{name}.{part}" for part in FUSED[fused]], weights, pair)

    module = model.model.decoder.layers[index]
    return Layer(module, {fused: prepare(fused) for fused in fused_layers(module)})


def forward(
    layer: Layer,
    x: Tensor,
    kv_cache: Tensor,
    rows: Tensor,
    positions: Tensor,
    mask: Tensor,
    text_kv: Tensor,
    text_mask: Tensor,
) -> Tensor:
    """The layer's output for one position of each row. It overwrites `x` `[R, 1, hidden]`.

    Args:
        kv_cache: keys and values of all positions, `[2, R, H, P, D]`; those of `x` are added.
        rows, positions: number and position of each row, `[R]`.
        mask: added to the attention scores of the first positions, `[R, 1, 1, length]`.
        text_kv: keys and values of the text, `[2, conditioned rows, H, L, D]`.
        text_mask: added to the attention scores of the text, `[conditioned rows, 1, 1, L]`: -inf for padding.
    """

    def attend(query: Tensor, new_kv: Tensor) -> Tensor:
        kv_cache[:, rows, :, positions] = new_kv.view(len(new_kv), 2, -1, new_kv.shape[-1])
        first = kv_cache[..., : mask.shape[-1], :]
        return scaled_dot_product_attention(query, first[0], first[1], mask)

    return compute(layer, x, attend, text_kv, text_mask)


def compute(
    layer: Layer, x: Tensor, attend: Callable[[Tensor, Tensor], Tensor], text_kv: Tensor, text_mask: Tensor
) -> Tensor:
    """The layer's output for several positions of each row. It overwrites `x` `[R, S, hidden]`.

    Args:
        attend: self-attention of queries `[R, H, S, D]`, given the new keys and values `[R, S, 2 · H, D]`.
    """
    module, linears = layer.module, layer.linears
    size = module.self_attn.head_dim
    heads = linears["self_attn.qkv"](module.self_attn_layer_norm(x)).view(*x.shape[:2], -1, size)
    query, new_kv = heads.split([module.self_attn.num_heads, 2 * module.self_attn.num_heads], dim=2)
    attended = attend(query.transpose(1, 2), new_kv)
    linears["self_attn.out_proj"].add_to(x, _merge_heads(attended))
    if layer.reads_text:
        conditioned = x[: text_kv.shape[1]]
        query = linears["encoder_attn.q_proj"](module.encoder_attn_layer_norm(conditioned))
        query = query.view(*conditioned.shape[:2], -1, size).transpose(1, 2)
        attended = scaled_dot_product_attention(query, text_kv[0], text_kv[1], text_mask)
        linears["encoder_attn.out_proj"].add_to(conditioned, _merge_heads(attended))
    inner = module.activation_fn(linears["fc1"](module.final_layer_norm(x)))
    linears["fc2"].add_to(x, inner)
    return x


def _merge_heads(heads: Tensor) -> Tensor:
    """`[R, H, S, D]` to `[R, S, H · D]`."""
    rows, count, positions, size = heads.shape
    return heads.transpose(1, 2).reshape(rows, positions, count * size)
