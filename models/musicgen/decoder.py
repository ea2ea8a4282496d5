"""A step of the decoder for a batch whose rows can leave: transformers' modules, our own key and value cache."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch.nn.functional import pad, scaled_dot_product_attention
from transformers import MusicgenForCausalLM
from transformers.models.musicgen.modeling_musicgen import MusicgenAttention

from models.lora_rows import RowAdapters, RowHooks, attached

# Matrix products on a CPU round differently with the number of rows left over from their blocks of 4, and attention
# with the number of keys left over from its own. Whole blocks keep a row's float32 logits the same to the last bit
# whoever else is in the batch: two rows are four with guidance, and texts are padded. (Measured with MKL's kernels for
# SSE4, AVX2 and AVX-512; half precision on a GPU promises no such thing.)
_ROWS = 2
_TEXT = 64


@contextmanager
def batch(
    model: MusicgenForCausalLM, texts: Sequence[torch.Tensor], adapters: Sequence[RowAdapters]
) -> Iterator[Batch]:
    """Decode rows together, each with its own text `[L, hidden]` and adapters."""
    slots = _filling(len(texts), torch.device("cpu")).tolist()
    with attached(model, [adapters[row] for row in slots] * 2) as hooks:
        yield Batch(model, [texts[row] for row in slots], len(texts), hooks)


class Batch:
    """The rows' caches. Inside, every row is there twice for guidance: all with their text, then all without.

    Shapes: R = 2 × slots, where slots is the number of rows filled up to a multiple of `_ROWS`; H heads of width D.
    """

    def __init__(self, model: MusicgenForCausalLM, texts: Sequence[torch.Tensor], rows: int, hooks: RowHooks) -> None:
        self._heads = model.lm_heads
        self._stack = model.model.decoder
        self._hooks = hooks
        self._rows = rows
        self._filling = _filling(rows, model.device)
        self._length = 0
        self._self: list[tuple[torch.Tensor, torch.Tensor]] = []
        length = -(-max(text.shape[0] for text in texts) // _TEXT) * _TEXT
        states = torch.stack([pad(text, (0, 0, 0, length - text.shape[0])) for text in texts])
        mask = states.new_zeros(len(texts), 1, 1, length)
        for row, text in enumerate(texts):
            mask[row, ..., text.shape[0] :] = float("-inf")
        # Without a text the states are zero: so are keys and values, and what is attended to does not matter.
        states = torch.cat([states, torch.zeros_like(states)])
        self._text_mask = mask.repeat(2, 1, 1, 1)
        self._text = [
            (_split(layer.encoder_attn, layer.encoder_attn.k_proj(states)),
             _split(layer.encoder_attn, layer.encoder_attn.v_proj(states)))
            for layer in self._stack.layers
        ]  # fmt: skip

    def begin(self, positions: int) -> None:
        """Forget what was read, and make room for so many positions."""
        self._length = 0
        rows = self._text_mask.shape[0]
        self._self = []
        for layer in self._stack.layers:
            attention = layer.self_attn
            shape = (rows, attention.num_heads, positions, attention.head_dim)
            self._self.append((self._text_mask.new_empty(shape), self._text_mask.new_empty(shape)))

    def step(self, codes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Read the codes at the next positions, `[rows, K, S]`.

        Only at the beginning may S be more than 1: attention to a part of what is read needs no mask otherwise.

        Returns:
            The logits of the position that follows, float32 `[rows, K, V]`, with and without the text.
        """
        slots = codes[self._filling].repeat(2, 1, 1)
        start, self._length = self._length, self._length + codes.shape[-1]
        stack = self._stack
        x = sum(embed(slots[:, index]) for index, embed in enumerate(stack.embed_tokens))
        x = x + stack.embed_positions.weights[start : self._length].to(x.dtype)
        for layer, own, text in zip(stack.layers, self._self, self._text, strict=True):
            x = x + self._attend(layer.self_attn, layer.self_attn_layer_norm(x), own, start)
            x = x + self._read_text(layer.encoder_attn, layer.encoder_attn_layer_norm(x), text)
            x = x + layer.fc2(layer.activation_fn(layer.fc1(layer.final_layer_norm(x))))
        last = stack.layer_norm(x[:, -1:])
        logits = torch.stack([head(last)[:, 0] for head in self._heads], dim=1).float()
        told, untold = logits.chunk(2)
        return told[: self._rows], untold[: self._rows]

    def keep(self, rows: Sequence[int]) -> None:
        """From now on the batch holds only these of its present rows."""
        slots, device = self._text_mask.shape[0] // 2, self._text_mask.device
        self._rows = len(rows)
        self._filling = _filling(len(rows), device)
        kept = torch.tensor(rows, device=device)[self._filling]
        index = torch.cat([kept, slots + kept])
        self._hooks.keep(index)
        self._text_mask = self._text_mask[index]
        self._text = [(keys[index], values[index]) for keys, values in self._text]
        self._self = [(keys[index], values[index]) for keys, values in self._self]

    def _attend(
        self,
        attention: MusicgenAttention,
        x: torch.Tensor,
        cache: tuple[torch.Tensor, torch.Tensor],
        start: int,
    ) -> torch.Tensor:
        keys, values = cache
        keys[:, :, start : self._length] = _split(attention, attention.k_proj(x))
        values[:, :, start : self._length] = _split(attention, attention.v_proj(x))
        seen = scaled_dot_product_attention(
            _split(attention, attention.q_proj(x)),
            keys[:, :, : self._length],
            values[:, :, : self._length],
            is_causal=x.shape[1] > 1,
        )
        return attention.out_proj(seen.transpose(1, 2).flatten(2))

    def _read_text(
        self, attention: MusicgenAttention, x: torch.Tensor, cache: tuple[torch.Tensor, torch.Tensor]
    ) -> torch.Tensor:
        seen = scaled_dot_product_attention(_split(attention, attention.q_proj(x)), *cache, attn_mask=self._text_mask)
        return attention.out_proj(seen.transpose(1, 2).flatten(2))


def _split(attention: MusicgenAttention, x: torch.Tensor) -> torch.Tensor:
    """`[R, S, H × D]` as `[R, H, S, D]`."""
    return x.unflatten(2, (attention.num_heads, attention.head_dim)).transpose(1, 2)


def _filling(rows: int, device: torch.device) -> torch.Tensor:
    """Which row is in each slot, `[slots]`: all in order, the last one standing in for what lacks."""
    return torch.arange(-(-rows // _ROWS) * _ROWS, device=device).clamp(max=rows - 1)
