"""Steps of the decoder for rows at different positions, by transformers' modules with a KV cache of our own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import embedding, pad, scaled_dot_product_attention
from transformers import MusicgenForCausalLM

from adapters.batched_lora import Pairs, Weights, add_lora, apply_linear, stack_pairs
from models.fused_linear import FusedLinear, fuse_pairs, fuse_weights
from models.musicgen.layer import LAYERS, KeyValue, compute, forward, fused_layers, prepare_layer

# On a CPU the rounding of matrix products may depend on the number of rows modulo 4, and that of attention on the
# number of keys modulo its block. Rows and keys are padded to multiples of these, so that, with MKL in the mode that
# `models/__init__.py` sets, a row's float32 logits are the same to the last bit in any batch. (A GPU in half precision
# does not guarantee that.)
_ROW_MULTIPLE = 4
_KEY_MULTIPLE = 16
_HEADS = "lm_heads"


@dataclass
class RowState:
    """The decoder's state of one row.

    Attributes:
        text_kv: each layer's keys and values of the text, `[H, L, D]`; empty in checkpoints without cross-attention.
        pairs: LoRA pairs by fused layer, of the layers that run for each position.
        weights: merged weights by layer, for layers that do not use their own.
        kv_cache: each layer's keys and values of the positions read so far, `[2, 2, H, n, D]`: key and value, then
            conditional and unconditional.
        prefix: states in front of the current window's positions, `[2, n, hidden]`, conditional and unconditional; n
            does not change. Only in checkpoints without cross-attention, which read text and melody there.
    """

    text_kv: Sequence[KeyValue]
    pairs: Pairs
    weights: Weights
    kv_cache: Sequence[Tensor] = ()
    prefix: Tensor | None = None

    @property
    def prefix_length(self) -> int:
        return 0 if self.prefix is None else self.prefix.shape[1]


def begin_row(model: MusicgenForCausalLM, text: Tensor, pairs: Pairs, weights: Weights) -> RowState:
    """Prepare a row with the encoded text `[L, hidden]`, LoRA pairs by layer and merged weights by layer."""
    padded = pad(text, (0, 0, 0, -text.shape[0] % _KEY_MULTIPLE))

    def project(name: str, module: Any) -> Tensor:
        y = add_lora(apply_linear(module, padded, weights.get(name)), padded, pairs.get(name))
        return y[: text.shape[0]]

    keys_values = []
    for index, module in enumerate(model.model.decoder.layers):
        if not hasattr(module, "encoder_attn"):
            break
        attention, name = module.encoder_attn, f"{LAYERS}.{index}.encoder_attn"
        key, value = project(f"{name}.k_proj", attention.k_proj), project(f"{name}.v_proj", attention.v_proj)
        keys_values.append((_split_heads(attention, key), _split_heads(attention, value)))
    return RowState(keys_values, fuse_pairs(model, pairs, _groups(model)), weights)


def _groups(model: MusicgenForCausalLM) -> dict[str, Sequence[str]]:
    """Fused layer → its layers, for the layers that run for each position."""
    layers: dict[str, Sequence[str]] = {
        f"{LAYERS}.{index}.{name}": [f"{LAYERS}.{index}.{part}" for part in parts]
        for index, module in enumerate(model.model.decoder.layers)
        for name, parts in fused_layers(module).items()
    }
    return layers | {_HEADS: [f"{_HEADS}.{index}" for index in range(len(model.lm_heads))]}


class Decoder:
    """Runs rows in lockstep. For guidance every row is there twice: first all conditional, then all unconditional.

    Shapes: R = 2 × slots, where slots is the number of rows, padded so that R is a multiple of `_ROW_MULTIPLE`; P
    positions; H heads of size D.

    Args:
        states: one for each row.
        max_positions: size of the KV cache, without prefixes.
        step_layer: `layer.forward`, compiled or not.
    """

    def __init__(
        self,
        model: MusicgenForCausalLM,
        states: Sequence[RowState],
        max_positions: int,
        step_layer: Callable[..., Tensor] = forward,
    ) -> None:
        self._model = model
        self._stack = model.model.decoder
        self._step_layer = step_layer
        self._states = states
        self._rows = len(states)
        slots = -(-self._rows // (_ROW_MULTIPLE // 2)) * (_ROW_MULTIPLE // 2)
        self._slots = slots
        # The row in each slot. The last row is repeated in slots that are padding.
        row_of_slot = [min(slot, self._rows - 1) for slot in range(slots)]
        self._row_of_slot = torch.tensor(row_of_slot * 2, device=model.device)
        self._all = torch.arange(2 * slots, device=model.device)
        weights = states[0].weights
        pairs = stack_pairs(model, [states[row].pairs for row in row_of_slot * 2])
        # Unconditional rows need no cross-attention: its keys and values are zero, and so is its result.
        conditioned_rows = -(-slots // _ROW_MULTIPLE) * _ROW_MULTIPLE
        self._layers = [
            prepare_layer(model, index, pairs, weights, conditioned_rows) for index in range(len(self._stack.layers))
        ]
        heads = [f"{_HEADS}.{index}" for index in range(len(model.lm_heads))]
        self._heads = FusedLinear.of(model, heads, weights, pairs.get(_HEADS))
        self._text_kv, self._text_mask = self._stacked_texts([states[row] for row in row_of_slot], conditioned_rows)
        prefix_lengths = [states[row].prefix_length for row in row_of_slot]
        # The position in the KV cache of each row's position 0.
        self._first = torch.tensor(prefix_lengths * 2, device=model.device)
        self._longest_prefix = max(prefix_lengths)
        max_positions += self._longest_prefix
        if max_positions > len(self._stack.embed_positions.weights):
            self._stack.embed_positions.make_weights(max_positions, self._stack.embed_positions.embedding_dim)
        self._kv_cache = self._stacked_caches([states[row] for row in row_of_slot], max_positions)
        for row, state in enumerate(states):
            state.kv_cache = [cache[:, row::slots] for cache in self._kv_cache]
        length = self._kv_cache[0].shape[3]
        self._causal_mask = self._kv_cache[0].new_full((length, length), float("-inf")).triu_(1)
        embeddings = list(self._stack.embed_tokens)
        table = fuse_weights(embeddings)
        assert table is not None  # the embeddings of all codebooks have the same shape
        self._embeddings = table
        self._offsets = torch.arange(len(embeddings), device=model.device)[:, None] * embeddings[0].num_embeddings

    def read(self, row: int, codes: Tensor) -> None:
        """Read a row's prefix, and its codes `[K, n]` at positions 0 to n - 1, instead of what the row read before."""
        prefix, first = self._states[row].prefix, self._states[row].prefix_length
        count = first + codes.shape[-1]
        x = self._embed(codes[None].expand(2, -1, -1), torch.arange(first, count, device=codes.device))
        if prefix is not None:
            x = torch.cat([prefix + self._stack.embed_positions.weights[:first].to(x.dtype), x], dim=1)
        for layer, cache, text_kv in zip(self._layers, self._kv_cache, self._text_kv, strict=True):
            row_cache = cache[:, row :: self._slots, :, :count]

            def attend(query: Tensor, new_kv: Tensor, row_cache: Tensor = row_cache) -> Tensor:
                keys, values = new_kv.unflatten(2, (2, -1)).permute(2, 0, 3, 1, 4)
                row_cache[0], row_cache[1] = keys, values
                return scaled_dot_product_attention(query, keys, values, is_causal=True)

            row_layer = layer.of(row, self._slots)
            x = compute(row_layer, x, attend, text_kv[:, row : row + 1], self._text_mask[row : row + 1])

    def step(self, codes: Tensor, positions: Tensor, last: int) -> tuple[Tensor, Tensor]:
        """Read each row's codes `[rows, K]` at its own position `[rows]`, of which `last` is the largest.

        Returns:
            The conditional and the unconditional logits of the position that follows, float32 `[rows, K, V]`.
        """
        positions = positions[self._row_of_slot] + self._first
        x = self._embed(codes[self._row_of_slot][..., None], positions[:, None])
        length = -(-(self._longest_prefix + last + 1) // _KEY_MULTIPLE) * _KEY_MULTIPLE
        mask = self._causal_mask[positions][:, None, None, :length]
        for layer, cache, text_kv in zip(self._layers, self._kv_cache, self._text_kv, strict=True):
            x = self._step_layer(layer, x, cache, self._all, positions, mask, text_kv, self._text_mask)
        logits = self._heads(self._stack.layer_norm(x)).view(len(x), len(self._model.lm_heads), -1).float()
        return logits[: self._rows], logits[self._slots : self._slots + self._rows]

    def _embed(self, codes: Tensor, positions: Tensor) -> Tensor:
        """Embed codes `[R, K, S]` at positions `[R, S]` or `[S]` to `[R, S, hidden]`."""
        x = embedding(codes + self._offsets, self._embeddings).sum(1)
        return x + self._stack.embed_positions.weights[positions].to(x.dtype)

    def _stacked_texts(self, states: Sequence[RowState], conditioned_rows: int) -> tuple[list[Tensor], Tensor]:
        """Each layer's text keys and values `[2, conditioned rows, H, L, D]`, and the mask of their padding.

        They are empty in checkpoints without cross-attention.
        """
        if not states[0].text_kv:
            empty = self._stack.layers[0].self_attn.k_proj.weight.new_zeros(2, 0, 1, 0, 1)
            return [empty] * len(self._stack.layers), empty[0]
        lengths = [state.text_kv[0][0].shape[1] for state in states]
        first = states[0].text_kv[0][0]
        heads, _, size = first.shape
        length = -(-max(lengths) // _KEY_MULTIPLE) * _KEY_MULTIPLE
        mask = first.new_zeros(conditioned_rows, 1, 1, length)
        for row, count in enumerate(lengths):
            mask[row, ..., count:] = float("-inf")
        stacked = []
        for index in range(len(states[0].text_kv)):
            layer_kv = first.new_zeros(2, conditioned_rows, heads, length, size)
            for row, state in enumerate(states):
                for part, text in enumerate(state.text_kv[index]):
                    layer_kv[part, row, :, : lengths[row]] = text
            stacked.append(layer_kv)
        return stacked, mask

    def _stacked_caches(self, states: Sequence[RowState], max_positions: int) -> list[Tensor]:
        """Each layer's KV cache `[2, R, H, P, D]`. Unread positions are zero, because masked values must be finite."""
        slots = len(states)
        length = -(-max_positions // _KEY_MULTIPLE) * _KEY_MULTIPLE
        stacked = []
        for index, module in enumerate(self._stack.layers):
            shape = (2, 2 * slots, module.self_attn.num_heads, length, module.self_attn.head_dim)
            cache = module.self_attn.k_proj.weight.new_zeros(shape)
            for row, state in enumerate(states):
                if state.kv_cache:
                    before = state.kv_cache[index][..., :length, :]
                    cache[:, row::slots, :, : before.shape[3]] = before
            stacked.append(cache)
        return stacked


def _split_heads(attention: Any, x: Tensor) -> Tensor:
    """`[…, S, H · D]` to `[…, H, S, D]`."""
    return x.unflatten(-1, (attention.num_heads, attention.head_dim)).transpose(-3, -2)
