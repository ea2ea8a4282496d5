"""A step of the decoder for rows that are each at a position of their own: transformers' modules, our own cache."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad, scaled_dot_product_attention
from transformers import MusicgenForCausalLM

from models.adapters import LoraPair
from models.lora_rows import Pairs, Weights, add, linear, stacks

KeyValue = tuple[Tensor, Tensor]

# Matrix products on a CPU may round differently with the number of rows left over from their blocks of 4, and attention
# with the number of keys left over from its own. Whole blocks, and MKL in the mode that `models` sets, keep a row's
# float32 logits the same to the last bit whoever else is in the batch. (A GPU in half precision promises no such
# thing.)
_ROWS = 4
_KEYS = 16
_LAYERS = "model.decoder.layers"


@dataclass
class Reader:
    """What the decoder needs of a row from its first to its last position.

    Attributes:
        text: each layer's keys and values of its text, `[H, L, D]`.
        pairs, weights: its adapters.
        seen: each layer's keys and values of the positions that it has read, `[2, H, n, D]`: with its text, without.
    """

    text: Sequence[KeyValue]
    pairs: Pairs
    weights: Weights
    seen: Sequence[KeyValue] = ()


def reader(model: MusicgenForCausalLM, text: Tensor, pairs: Pairs, weights: Weights) -> Reader:
    """Begin a row with the text `[L, hidden]`."""
    padded = pad(text, (0, 0, 0, -text.shape[0] % _KEYS))

    def project(name: str, layer: Any) -> Tensor:
        y = add(linear(layer, padded, weights.get(name)), padded, pairs.get(name))
        return y[: text.shape[0]]

    keys_values = []
    for index, layer in enumerate(model.model.decoder.layers):
        attention, name = layer.encoder_attn, f"{_LAYERS}.{index}.encoder_attn"
        key, value = project(f"{name}.k_proj", attention.k_proj), project(f"{name}.v_proj", attention.v_proj)
        keys_values.append((_split(attention, key), _split(attention, value)))
    return Reader(keys_values, pairs, weights)


class Decoder:
    """Readers in lockstep. Inside, every row is there twice for guidance: all with their text, then all without.

    Shapes: R = 2 × slots, where slots is the number of rows filled up so that R is a multiple of `_ROWS`; P positions;
    H heads of width D.
    """

    def __init__(self, model: MusicgenForCausalLM, readers: Sequence[Reader], positions: int) -> None:
        self._model = model
        self._stack = model.model.decoder
        self._rows = len(readers)
        slots = -(-self._rows // (_ROWS // 2)) * (_ROWS // 2)
        # Which row is in each slot: all in order, the last one standing in for what lacks.
        filling = [min(slot, self._rows - 1) for slot in range(slots)]
        self._filling = torch.tensor(filling, device=model.device)
        self._all = torch.arange(2 * slots, device=model.device)
        self._weights = readers[0].weights
        self._pairs = stacks(model, [readers[row].pairs for row in filling * 2])
        # Only rows with a text attend to one: without, keys and values are zero, and so is what is attended to.
        self._told = -(-slots // _ROWS) * _ROWS
        self._told_pairs = {
            name: LoraPair(pair.a[: self._told], pair.b[: self._told])
            for name, pair in self._pairs.items()
            if ".encoder_attn." in name
        }
        self._text, self._text_mask = self._stacked_texts([readers[row] for row in (filling * 2)[: self._told]])
        self._seen = self._stacked_seen([readers[row] for row in filling], positions)
        for row, each in enumerate(readers):
            each.seen = [(key[row::slots], value[row::slots]) for key, value in self._seen]

    def read(self, row: int, codes: Tensor) -> None:
        """Read the beginning of one row, `[K, n]` at positions from 0, whatever it had read before."""
        slots, count = len(self._filling), codes.shape[-1]
        pairs = {name: LoraPair(pair.a[row::slots], pair.b[row::slots]) for name, pair in self._pairs.items()}
        told = {name: LoraPair(pair.a[:1], pair.b[:1]) for name, pair in pairs.items()}
        positions = torch.arange(count, device=codes.device)
        x = self._embed(codes[None].expand(2, -1, -1), positions)
        for index, layer in enumerate(self._stack.layers):
            name = f"{_LAYERS}.{index}"
            query, key, value = self._heads(f"{name}.self_attn", layer, x, pairs)
            for cached, part in zip(self._seen[index], (key, value), strict=True):
                cached[row::slots, :, :count] = part
            x = x + self._out(f"{name}.self_attn", layer.self_attn, _attend(query, key, value, causal=True), pairs)
            key, value = (part[row : row + 1] for part in self._text[index])
            x[:1] += self._of_text(name, layer, x[:1], (key, value), self._text_mask[row : row + 1], told)
            x = x + self._mlp(name, layer, x, pairs)

    def step(self, codes: Tensor, at: Tensor, most: int) -> tuple[Tensor, Tensor]:
        """Read every row's codes `[rows, K]` at its own position `at` `[rows]`, of which `most` is the last.

        Returns:
            The logits of the position that follows, float32 `[rows, K, V]`, with and without the text.
        """
        slots = len(self._filling)
        at = at[self._filling].repeat(2)
        x = self._embed(codes[self._filling].repeat(2, 1)[..., None], at[:, None])
        length = -(-(most + 1) // _KEYS) * _KEYS
        unseen = torch.arange(length, device=at.device) > at[:, None]
        mask = torch.zeros_like(unseen, dtype=x.dtype).masked_fill_(unseen, float("-inf"))[:, None, None]
        for index, layer in enumerate(self._stack.layers):
            name = f"{_LAYERS}.{index}"
            query, key, value = self._heads(f"{name}.self_attn", layer, x, self._pairs)
            keys, values = self._seen[index]
            keys[self._all, :, at] = key[:, :, 0]
            values[self._all, :, at] = value[:, :, 0]
            seen = _attend(query, keys[:, :, :length], values[:, :, :length], mask)
            x = x + self._out(f"{name}.self_attn", layer.self_attn, seen, self._pairs)
            told = self._of_text(name, layer, x[: self._told], self._text[index], self._text_mask, self._told_pairs)
            x[:slots] += told[:slots]
            x = x + self._mlp(name, layer, x, self._pairs)
        x = self._stack.layer_norm(x)
        heads = [
            self._linear(f"lm_heads.{index}", head, x, self._pairs) for index, head in enumerate(self._model.lm_heads)
        ]
        logits = torch.cat(heads, dim=1).float()
        return logits[: self._rows], logits[slots : slots + self._rows]

    def _embed(self, codes: Tensor, positions: Tensor) -> Tensor:
        """`[R, K, S]` at `[R, S]` or `[S]` as `[R, S, hidden]`."""
        x: Tensor = sum(embed(codes[:, index]) for index, embed in enumerate(self._stack.embed_tokens))  # type: ignore[assignment]
        return x + self._stack.embed_positions.weights[positions].to(x.dtype)

    def _heads(self, name: str, layer: Any, x: Tensor, pairs: Pairs) -> tuple[Tensor, Tensor, Tensor]:
        """Query, key and value of the positions themselves, `[R, H, S, D]`."""
        attention, x = layer.self_attn, layer.self_attn_layer_norm(x)
        query, key, value = (
            _split(attention, self._linear(f"{name}.{part}", getattr(attention, part), x, pairs))
            for part in ("q_proj", "k_proj", "v_proj")
        )
        return query, key, value

    def _of_text(self, name: str, layer: Any, x: Tensor, text: KeyValue, mask: Tensor, pairs: Pairs) -> Tensor:
        attention, name = layer.encoder_attn, f"{name}.encoder_attn"
        query = self._linear(f"{name}.q_proj", attention.q_proj, layer.encoder_attn_layer_norm(x), pairs)
        return self._out(name, attention, _attend(_split(attention, query), *text, mask), pairs)

    def _out(self, name: str, attention: Any, x: Tensor, pairs: Pairs) -> Tensor:
        return self._linear(f"{name}.out_proj", attention.out_proj, x, pairs)

    def _mlp(self, name: str, layer: Any, x: Tensor, pairs: Pairs) -> Tensor:
        x = layer.activation_fn(self._linear(f"{name}.fc1", layer.fc1, layer.final_layer_norm(x), pairs))
        return self._linear(f"{name}.fc2", layer.fc2, x, pairs)

    def _linear(self, name: str, layer: Any, x: Tensor, pairs: Pairs) -> Tensor:
        """One product for all rows, and two for all their adapters."""
        y = linear(layer, x, self._weights.get(name))
        pair = pairs.get(name)
        return y if pair is None else torch.baddbmm(y, torch.bmm(x, pair.a), pair.b)

    def _stacked_texts(self, readers: Sequence[Reader]) -> tuple[list[KeyValue], Tensor]:
        """Each layer's `[told, H, L, D]`, and what of it is padding."""
        longest = max(each.text[0][0].shape[1] for each in readers)
        length = -(-longest // _KEYS) * _KEYS
        first = readers[0].text[0][0]
        mask = first.new_full((len(readers), 1, 1, length), float("-inf"))
        for row, each in enumerate(readers):
            mask[row, ..., : each.text[0][0].shape[1]] = 0

        def stacked(parts: Sequence[Tensor]) -> Tensor:
            return torch.stack([pad(part, (0, 0, 0, length - part.shape[1])) for part in parts])

        layers = range(len(readers[0].text))
        texts = [
            (stacked([each.text[index][0] for each in readers]), stacked([each.text[index][1] for each in readers]))
            for index in layers
        ]
        return texts, mask

    def _stacked_seen(self, readers: Sequence[Reader], positions: int) -> list[KeyValue]:
        """Each layer's `[R, H, P, D]`, zero where nothing was read yet: what is masked must be finite."""
        slots = len(readers)
        length = -(-positions // _KEYS) * _KEYS
        stacked = []
        for index, layer in enumerate(self._stack.layers):
            shape = (2 * slots, layer.self_attn.num_heads, length, layer.self_attn.head_dim)
            parts = []
            for part in range(2):
                whole = layer.self_attn.k_proj.weight.new_zeros(shape)
                for row, each in enumerate(readers):
                    if each.seen:
                        seen = each.seen[index][part][:, :, :length]
                        whole[row::slots, :, : seen.shape[2]] = seen
                parts.append(whole)
            stacked.append((parts[0], parts[1]))
        return stacked


def _split(attention: Any, x: Tensor) -> Tensor:
    """`[…, S, H · D]` as `[…, H, S, D]`."""
    return x.unflatten(-1, (attention.num_heads, attention.head_dim)).transpose(-3, -2)


def _attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, causal: bool = False) -> Tensor:
    """`[R, H, S, D]` each as `[R, S, H · D]`."""
    return scaled_dot_product_attention(query, key, value, mask, is_causal=causal).transpose(1, 2).flatten(2)
