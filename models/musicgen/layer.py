"""A layer of the decoder for the next position of rows, in as few operations as there are to launch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import MusicgenForCausalLM

from adapters.batched_lora import Pairs, Weights
from adapters.weights import LoraPair
from models.fused_linear import Product

KeyValue = tuple[Tensor, Tensor]

LAYERS = "model.decoder.layers"
# What of a layer is one product, by the name under which adapters are kept for it.
GROUPS = {
    "self_attn.qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "self_attn.out_proj": ("self_attn.out_proj",),
    "encoder_attn.q_proj": ("encoder_attn.q_proj",),
    "encoder_attn.out_proj": ("encoder_attn.out_proj",),
    "fc1": ("fc1",),
    "fc2": ("fc2",),
}
_OF_TEXT = "encoder_attn."


@dataclass(frozen=True)
class Layer:
    """A layer as the decoder uses it: transformers' `MusicgenDecoderLayer`, and its products by the names of `GROUPS`.

    All but those of the text are for the rows with their text, then without; those of the text for the former alone.
    """

    module: Any
    products: dict[str, Product]

    def of(self, row: int, slots: int) -> Layer:
        """The same for one row, with its text and without."""

        def cut(name: str, product: Product) -> Product:
            rows = slice(row, row + 1) if name.startswith(_OF_TEXT) else slice(row, None, slots)
            pair = product.pair
            return product if pair is None else replace(product, pair=LoraPair(pair.a[rows], pair.b[rows]))

        return Layer(self.module, {name: cut(name, product) for name, product in self.products.items()})


def layer(model: MusicgenForCausalLM, index: int, pairs: Pairs, weights: Weights, told: int) -> Layer:
    """Layer `index` with the adapters' pairs by group, `[rows, …]`, and the weights by layer.

    Args:
        told: how many rows attend to a text.
    """
    name = f"{LAYERS}.{index}"

    def product(group: str) -> Product:
        pair = pairs.get(f"{name}.{group}")
        if pair is not None and group.startswith(_OF_TEXT):
            pair = LoraPair(pair.a[:told], pair.b[:told])
        return Product.of(model, [f"{name}.{part}" for part in GROUPS[group]], weights, pair)

    return Layer(model.model.decoder.layers[index], {group: product(group) for group in GROUPS})


def forward(
    own: Layer, x: Tensor, seen: Tensor, rows: Tensor, at: Tensor, mask: Tensor, text: Tensor, text_mask: Tensor
) -> Tensor:
    """The layer's output for one position of each row, `x` `[R, 1, hidden]`, which is written over.

    Args:
        seen: keys and values of all positions, `[2, R, H, P, D]`; those of `x` are added.
        rows, at: each row's number, and its position, `[R]`.
        mask: `[R, 1, 1, length]`, added to the scores of the first positions.
        text: keys and values of the text, `[2, told, H, L, D]`.
        text_mask: what of it is padding, `[told, 1, 1, L]`.
    """

    def attend(query: Tensor, new: Tensor) -> Tensor:
        seen[:, rows, :, at] = new.view(len(new), 2, -1, new.shape[-1])
        first = seen[..., : mask.shape[-1], :]
        return scaled_dot_product_attention(query, first[0], first[1], mask)

    return compute(own, x, attend, text, text_mask)


def compute(
    own: Layer, x: Tensor, attend: Callable[[Tensor, Tensor], Tensor], text: Tensor, text_mask: Tensor
) -> Tensor:
    """The layer's output for positions `x` `[R, S, hidden]`, which is written over.

    Args:
        attend: the self-attention `[R, H, S, D]` of queries of that shape, given keys and values `[R, S, 2 · H, D]`.
    """
    module, products = own.module, own.products
    size = module.self_attn.head_dim
    heads = products["self_attn.qkv"](module.self_attn_layer_norm(x)).view(*x.shape[:2], -1, size)
    query, new = heads.split([module.self_attn.num_heads, 2 * module.self_attn.num_heads], dim=2)
    seen = attend(query.transpose(1, 2), new)
    products["self_attn.out_proj"].add_to(x, _merged(seen))
    told = x[: text.shape[1]]
    query = products["encoder_attn.q_proj"](module.encoder_attn_layer_norm(told))
    query = query.view(*told.shape[:2], -1, size).transpose(1, 2)
    of_text = scaled_dot_product_attention(query, text[0], text[1], text_mask)
    products["encoder_attn.out_proj"].add_to(told, _merged(of_text))
    inner = module.activation_fn(products["fc1"](module.final_layer_norm(x)))
    products["fc2"].add_to(x, inner)
    return x


def _merged(heads: Tensor) -> Tensor:
    """`[R, H, S, D]` as `[R, S, H · D]`."""
    rows, count, positions, size = heads.shape
    return heads.transpose(1, 2).reshape(rows, positions, count * size)
