"""A step of the decoder for rows that are each at a position of their own: transformers' modules, our own cache."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import embedding, pad, scaled_dot_product_attention
from transformers import MusicgenForCausalLM

from adapters.batched_lora import Pairs, Weights, add, linear, stacks
from models.fused_linear import Product, grouped, together
from models.musicgen.layer import GROUPS, LAYERS, KeyValue, compute, forward, layer

# Matrix products on a CPU may round differently with the number of rows left over from their blocks of 4, and attention
# with the number of keys left over from its own. Whole blocks, and MKL in the mode that `models` sets, keep a row's
# float32 logits the same to the last bit whoever else is in the batch. (A GPU in half precision promises no such
# thing.)
_ROWS = 4
_KEYS = 16
_HEADS = "lm_heads"


@dataclass
class Reader:
    """What the decoder needs of a row from its first to its last position.

    Attributes:
        text: each layer's keys and values of its text, `[H, L, D]`.
        pairs: its adapters' by product (`layer.GROUPS`), of those that run for each position.
        weights: of layers that have others than the model's own.
        seen: each layer's keys and values of the positions that it has read, `[2, 2, H, n, D]`: with its text, without.
    """

    text: Sequence[KeyValue]
    pairs: Pairs
    weights: Weights
    seen: Sequence[Tensor] = ()


def reader(model: MusicgenForCausalLM, text: Tensor, pairs: Pairs, weights: Weights) -> Reader:
    """Begin a row with the text `[L, hidden]`; `pairs` are its adapters' by layer."""
    padded = pad(text, (0, 0, 0, -text.shape[0] % _KEYS))

    def project(name: str, module: Any) -> Tensor:
        y = add(linear(module, padded, weights.get(name)), padded, pairs.get(name))
        return y[: text.shape[0]]

    keys_values = []
    for index, module in enumerate(model.model.decoder.layers):
        attention, name = module.encoder_attn, f"{LAYERS}.{index}.encoder_attn"
        key, value = project(f"{name}.k_proj", attention.k_proj), project(f"{name}.v_proj", attention.v_proj)
        keys_values.append((_split(attention, key), _split(attention, value)))
    return Reader(keys_values, grouped(model, pairs, _groups(model)), weights)


def _groups(model: MusicgenForCausalLM) -> dict[str, Sequence[str]]:
    """The layers that run for each position, by the product that they are a part of."""
    layers: dict[str, Sequence[str]] = {
        f"{LAYERS}.{index}.{name}": [f"{LAYERS}.{index}.{part}" for part in parts]
        for index in range(len(model.model.decoder.layers))
        for name, parts in GROUPS.items()
    }
    return layers | {_HEADS: [f"{_HEADS}.{index}" for index in range(len(model.lm_heads))]}


class Decoder:
    """Readers in lockstep. Inside, every row is there twice for guidance: all with their text, then all without.

    Shapes: R = 2 × slots, where slots is the number of rows filled up so that R is a multiple of `_ROWS`; P positions;
    H heads of width D.

    Args:
        step_layer: `layer.forward`, or what was compiled of it.
    """

    def __init__(
        self,
        model: MusicgenForCausalLM,
        readers: Sequence[Reader],
        positions: int,
        step_layer: Callable[..., Tensor] = forward,
    ) -> None:
        self._model = model
        self._stack = model.model.decoder
        self._step_layer = step_layer
        self._rows = len(readers)
        slots = -(-self._rows // (_ROWS // 2)) * (_ROWS // 2)
        self._slots = slots
        # Which row is in each slot: all in order, the last one standing in for what lacks.
        filling = [min(slot, self._rows - 1) for slot in range(slots)]
        self._filling = torch.tensor(filling * 2, device=model.device)
        self._all = torch.arange(2 * slots, device=model.device)
        weights = readers[0].weights
        pairs = stacks(model, [readers[row].pairs for row in filling * 2])
        # Only rows with a text attend to one: without, keys and values are zero, and so is what is attended to.
        told = -(-slots // _ROWS) * _ROWS
        self._layers = [layer(model, index, pairs, weights, told) for index in range(len(self._stack.layers))]
        heads = [f"{_HEADS}.{index}" for index in range(len(model.lm_heads))]
        self._heads = Product.of(model, heads, weights, pairs.get(_HEADS))
        self._text, self._text_mask = self._stacked_texts([readers[row] for row in filling], told)
        self._seen = self._stacked_seen([readers[row] for row in filling], positions)
        for row, each in enumerate(readers):
            each.seen = [seen[:, row::slots] for seen in self._seen]
        length = self._seen[0].shape[3]
        self._causal = self._seen[0].new_full((length, length), float("-inf")).triu_(1)
        tables = list(self._stack.embed_tokens)
        table = together(tables)
        assert table is not None  # they are alike
        self._table = table
        self._offsets = torch.arange(len(tables), device=model.device)[:, None] * tables[0].num_embeddings

    def read(self, row: int, codes: Tensor) -> None:
        """Read the beginning of one row, `[K, n]` at positions from 0, whatever it had read before."""
        count = codes.shape[-1]
        x = self._embed(codes[None].expand(2, -1, -1), torch.arange(count, device=codes.device))
        for own, seen, text in zip(self._layers, self._seen, self._text, strict=True):
            whole = seen[:, row :: self._slots, :, :count]

            def attend(query: Tensor, new: Tensor, whole: Tensor = whole) -> Tensor:
                keys, values = new.unflatten(2, (2, -1)).permute(2, 0, 3, 1, 4)
                whole[0], whole[1] = keys, values
                return scaled_dot_product_attention(query, keys, values, is_causal=True)

            one = own.of(row, self._slots)
            x = compute(one, x, attend, text[:, row : row + 1], self._text_mask[row : row + 1])

    def step(self, codes: Tensor, at: Tensor, most: int) -> tuple[Tensor, Tensor]:
        """Read every row's codes `[rows, K]` at its own position `at` `[rows]`, of which `most` is the last.

        Returns:
            The logits of the position that follows, float32 `[rows, K, V]`, with and without the text.
        """
        at = at[self._filling]
        x = self._embed(codes[self._filling][..., None], at[:, None])
        length = -(-(most + 1) // _KEYS) * _KEYS
        mask = self._causal[at][:, None, None, :length]
        for own, seen, text in zip(self._layers, self._seen, self._text, strict=True):
            x = self._step_layer(own, x, seen, self._all, at, mask, text, self._text_mask)
        logits = self._heads(self._stack.layer_norm(x)).view(len(x), len(self._model.lm_heads), -1).float()
        return logits[: self._rows], logits[self._slots : self._slots + self._rows]

    def _embed(self, codes: Tensor, positions: Tensor) -> Tensor:
        """`[R, K, S]` at `[R, S]` or `[S]` as `[R, S, hidden]`."""
        x = embedding(codes + self._offsets, self._table).sum(1)
        return x + self._stack.embed_positions.weights[positions].to(x.dtype)

    def _stacked_texts(self, readers: Sequence[Reader], told: int) -> tuple[list[Tensor], Tensor]:
        """Each layer's `[2, told, H, L, D]`, and what of it is padding. Rows beyond the readers have no text."""
        lengths = [each.text[0][0].shape[1] for each in readers]
        first = readers[0].text[0][0]
        heads, _, size = first.shape
        length = -(-max(lengths) // _KEYS) * _KEYS
        mask = first.new_zeros(told, 1, 1, length)
        for row, count in enumerate(lengths):
            mask[row, ..., count:] = float("-inf")
        texts = []
        for index in range(len(readers[0].text)):
            whole = first.new_zeros(2, told, heads, length, size)
            for row, each in enumerate(readers):
                for part, text in enumerate(each.text[index]):
                    whole[part, row, :, : lengths[row]] = text
            texts.append(whole)
        return texts, mask

    def _stacked_seen(self, readers: Sequence[Reader], positions: int) -> list[Tensor]:
        """Each layer's `[2, R, H, P, D]`, zero where nothing was read yet: what is masked must be finite."""
        slots = len(readers)
        length = -(-positions // _KEYS) * _KEYS
        stacked = []
        for index, module in enumerate(self._stack.layers):
            shape = (2, 2 * slots, module.self_attn.num_heads, length, module.self_attn.head_dim)
            whole = module.self_attn.k_proj.weight.new_zeros(shape)
            for row, each in enumerate(readers):
                if each.seen:
                    seen = each.seen[index][..., :length, :]
                    whole[:, row::slots, :, : seen.shape[3]] = seen
            stacked.append(whole)
        return stacked


def _split(attention: Any, x: Tensor) -> Tensor:
    """`[…, S, H · D]` as `[…, H, S, D]`."""
    return x.unflatten(-1, (attention.num_heads, attention.head_dim)).transpose(-3, -2)
