"""Sequence packing: the transformer over rows of different lengths, concatenated, each with its own adapter.

Every matrix product runs once for all rows. Attention, positions, timesteps and adapters are each row's own, so that a
row's result does not depend on the other rows, and no computation is spent on padding them to one length. The
arithmetic is that of diffusers' `AceStepTransformer1DModel.forward`.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.models.embeddings import get_1d_rotary_pos_embed
from diffusers.models.transformers.ace_step_transformer import AceStepTransformer1DModel
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from adapters.batched_lora import Pairs, Weights, add_lora, apply_linear, stack_pairs
from adapters.weights import LoraPair
from models.ace_step.attention import KeyValue, attention
from models.ace_step.layer import FUSED, UNCOMPILED, Layer, LayerFunctions, forward, prepare_layer, rms_norm
from models.base import run_to_end
from models.device import send
from models.fused_linear import FusedLinear, fuse_pairs

# Share of padding tokens up to which larger, and so fewer, blocks are preferred.
_MAX_PADDING = 0.02
_MIN_BLOCK_SIZE = 32
# A pack copies the adapters of all layers to its blocks at once up to this size, beyond it layer by layer.
_MAX_COPIED_BYTES = 2**29
_TIME_LAYERS = ("linear_1", "linear_2", "time_proj")


@dataclass
class Stream:
    """One sequence through the transformer: a row's conditional or unconditional half.

    Attributes:
        context: the input beside the latents, `[1, T, 2C]`.
        pairs: LoRA pairs by fused layer, of the layers that run in each step.
        weights: merged weights by layer, for layers that do not use their own.
        condition_kv: each layer's key and value of the condition, `[1, heads, L, D]`; they are the same in all steps.
    """

    context: Tensor
    pairs: Pairs
    weights: Weights = field(default_factory=dict)
    condition_kv: list[KeyValue] = field(default_factory=list)


def stream(
    transformer: AceStepTransformer1DModel,
    context: Tensor,
    condition: Tensor,
    pairs: Pairs,
    weights: Weights | None = None,
) -> Stream:
    """Prepare a sequence: compute the tensors that all steps share.

    Args:
        context: `[1, T, 2C]`.
        condition: `[1, L, D]`.
        pairs: LoRA pairs by layer.
        weights: merged weights by layer.
    """
    result = Stream(context, fuse_pairs(transformer, pairs, _groups(transformer)), weights or {})

    def apply(name: str, module: Any, x: Tensor) -> Tensor:
        return add_lora(apply_linear(module, x, result.weights.get(name)), x, pairs.get(name))

    embedded = apply("condition_embedder", transformer.condition_embedder, condition)
    for index, module in enumerate(transformer.layers):
        cross, prefix = module.cross_attn, f"layers.{index}.cross_attn"
        key = apply(f"{prefix}.to_k", cross.to_k, embedded)
        value = apply(f"{prefix}.to_v", cross.to_v, embedded)
        key = rms_norm(cross.norm_k, key.unflatten(-1, (cross.kv_heads, cross.head_dim)))
        value = value.unflatten(-1, (cross.kv_heads, cross.head_dim))
        result.condition_kv.append((key.transpose(1, 2), value.transpose(1, 2)))
    return result


def streams(
    transformer: AceStepTransformer1DModel, contexts: Sequence[Tensor], conditions: Sequence[Tensor]
) -> list[Stream]:
    """Prepare several sequences without adapters in one pass."""
    together = stream(transformer, contexts[0], torch.cat(list(conditions), dim=1), {})
    lengths = [condition.shape[1] for condition in conditions]
    # [layer][stream] of (key, value)
    parts = [list(zip(k.split(lengths, dim=2), v.split(lengths, dim=2), strict=True)) for k, v in together.condition_kv]
    return [Stream(context, {}, condition_kv=[each[row] for each in parts]) for row, context in enumerate(contexts)]


def _groups(transformer: AceStepTransformer1DModel) -> dict[str, Sequence[str]]:
    """Fused layer → its layers, for the layers that run in each step."""
    layers: dict[str, Sequence[str]] = {
        f"layers.{index}.{name}": [f"layers.{index}.{part}" for part in parts]
        for index in range(len(transformer.layers))
        for name, parts in FUSED.items()
    }
    times = [f"{time}.{part}" for time in ("time_embed", "time_embed_r") for part in _TIME_LAYERS]
    return layers | {name: [name] for name in times}


class Pack:
    """Streams that go through the transformer together. All have the same `weights`.

    Each stream is padded to a whole number of blocks of tokens. A stream's own parameters (adapter, modulation) are
    copied to each of its blocks, so that no operation runs once for each stream, except attention on devices without
    `VarlenAttention`.

    Args:
        functions: those of each layer, compiled or not.
    """

    def __init__(
        self,
        transformer: AceStepTransformer1DModel,
        streams: Sequence[Stream],
        functions: LayerFunctions = UNCOMPILED,
    ) -> None:
        self.transformer = transformer
        self.weights = streams[0].weights
        self._functions = functions
        self.lengths = [stream.context.shape[1] for stream in streams]
        self.tokens = [-(-length // transformer.patch_size) for length in self.lengths]
        self.block_size = _block_size(self.tokens)
        blocks = [-(-count // self.block_size) for count in self.tokens]
        self.padded = [self.block_size * count for count in blocks]
        device, dtype = streams[0].context.device, streams[0].context.dtype
        owners = [stream for stream, count in enumerate(blocks) for _ in range(count)]
        # The stream of each block, None if each stream has one block.
        self.owner = None if len(owners) == len(streams) else send(torch.tensor(owners, device="cpu"), device)
        self._blocks = len(owners)
        self.rotary = self._rotary(blocks, device, dtype)
        heads = transformer.layers[0].self_attn.heads
        condition_kv = [stream.condition_kv for stream in streams]
        self.attention = attention(self.tokens, self.padded, condition_kv, heads, transformer.config.sliding_window)
        self.pairs = self._stacked([stream.pairs for stream in streams])
        self.layers = [
            prepare_layer(transformer, index, self.pairs, self.weights) for index in range(len(transformer.layers))
        ]
        self._scale_shift = torch.cat([module.scale_shift_table for module in transformer.layers])[:, None]
        # A convolution whose stride is its width is a matrix product.
        self._in_weight = transformer.proj_in_conv.weight.transpose(1, 2).flatten(1)
        self._out_weight = transformer.proj_out_conv.weight.permute(2, 1, 0).flatten(0, 1)
        self._out_bias = transformer.proj_out_conv.bias.repeat(transformer.patch_size)
        # Context and latents of all streams, packed and padded to blocks, `[N · patch, 3C]`.
        width = transformer.config.in_channels
        self._frames = streams[0].context.new_zeros(self._blocks * self.block_size * transformer.patch_size, width)
        for part, each in zip(self._streams(self._frames), streams, strict=True):
            part[:, : each.context.shape[-1]] = each.context[0]
        # The model embeds t and t - r. In this sampler r is t, so that the second embedding is always that of 0.
        self._r_embedding = self._time("time_embed_r", transformer.time_embed_r, self._frames.new_zeros(len(streams)))

    def velocities(self, latents: Sequence[Tensor], timesteps: Sequence[float] | Tensor) -> list[Tensor]:
        """Predict the velocity of every stream, `[1, T, C]` each.

        Args:
            latents: noisy latents of each stream, `[1, T, C]`, where T differs.
            timesteps: one for each stream, in [0, 1].
        """
        return run_to_end(self.forward(latents, timesteps))

    def forward(
        self, latents: Sequence[Tensor], timesteps: Sequence[float] | Tensor
    ) -> Generator[None, None, list[Tensor]]:
        """`velocities`, with a pause after each layer."""
        dit = self.transformer
        if not isinstance(timesteps, Tensor):
            timesteps = send(torch.tensor(timesteps, dtype=torch.float32, device="cpu"), self._frames.device)
        times = self._time("time_embed", dit.time_embed, timesteps.to(self._frames.dtype))
        embedding, modulation = (one + two for one, two in zip(times, self._r_embedding, strict=True))
        modulations = self._scale_shift + modulation
        modulations[:, :, 1::3] += 1
        for part, x in zip(self._streams(self._frames), latents, strict=True):
            part[:, -x.shape[-1] :] = x[0]
        frames = self._frames.view(self._blocks, self.block_size, -1)
        h = F.linear(frames, self._in_weight, dit.proj_in_conv.bias)
        for index in range(len(self.layers)):
            arguments = (index, h, modulations[index])
            if dit.gradient_checkpointing and torch.is_grad_enabled():
                h = checkpoint(self._layer, *arguments, use_reentrant=False)
            else:
                h = self._layer(*arguments)
            yield
        last = self._per_block(dit.scale_shift_table + embedding[:, None])
        h = torch.addcmul(last[:, :1], rms_norm(dit.norm_out, h), last[:, 1:] + 1)
        frames = F.linear(h, self._out_weight, self._out_bias).view(len(self._frames), -1)
        return [part[None] for part in self._streams(frames)]

    def _layer(self, index: int, h: Tensor, modulation: Tensor) -> Tensor:
        """Layer `index` of `[blocks, block, D]`; `modulation` is `[streams, 6, D]`."""
        layer, conditions = self._layer_per_block(index), self.attention.conditions[index]
        return forward(layer, h, self._per_block(modulation), self.rotary, self.attention, conditions, self._functions)

    def _layer_per_block(self, index: int) -> Layer:
        """The layer, with one LoRA pair for each block."""
        layer = self.layers[index]
        if all(each.pair is None or len(each.pair.a) == self._blocks for each in layer.linears.values()):
            return layer
        linears = {
            name: FusedLinear(each.layers, each.merged, each.fused, each.pair and self._pair_per_block(each.pair))
            for name, each in layer.linears.items()
        }
        return Layer(layer.module, linears, layer.qk_norm, layer.window)

    def _rotary(self, blocks: Sequence[int], device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Cosine and signed sine of each token's position, `[N, 1, head size]`, rounded to `dtype` as in the model."""
        positions = torch.cat([torch.arange(n * self.block_size, device=device, dtype=torch.float32) for n in blocks])
        cos, sin = get_1d_rotary_pos_embed(
            self.transformer.head_dim,
            positions,
            theta=self.transformer.rope_theta,
            use_real=True,
            repeat_interleave_real=False,
        )
        cos, sin = cos.to(dtype).float(), sin.to(dtype).float()
        sin[:, : sin.shape[1] // 2].neg_()
        return cos[:, None], sin[:, None]

    def _stacked(self, rows: Sequence[Pairs]) -> Pairs:
        """Stack the streams' LoRA pairs, with a copy for each block unless the copies would take too much memory.

        The pairs of the timestep embedding, which runs once for each stream, are not copied.
        """
        pairs = stack_pairs(self.transformer, rows)
        copied = sum((pair.a[0].nbytes + pair.b[0].nbytes) * self._blocks for pair in pairs.values())
        if self.owner is None or copied > _MAX_COPIED_BYTES:
            return pairs
        return {name: pair if _embeds_time(name) else self._pair_per_block(pair) for name, pair in pairs.items()}

    def _pair_per_block(self, pair: LoraPair) -> LoraPair:
        """`[streams, …]` to `[blocks, …]`."""
        return LoraPair(self._per_block(pair.a), self._per_block(pair.b))

    def _per_block(self, x: Tensor) -> Tensor:
        """`[streams, …]` to `[blocks, …]`."""
        return x if self.owner is None else x[self.owner]

    def _streams(self, frames: Tensor) -> list[Tensor]:
        """Split `[N · patch, C]` into the streams, without padding."""
        # `split`, because its gradient is one copy.
        parts = frames.split([count * self.transformer.patch_size for count in self.padded])
        return [part[:length] for part, length in zip(parts, self.lengths, strict=True)]

    def _time(self, name: str, module: Any, t: Tensor) -> tuple[Tensor, Tensor]:
        """Embed timesteps `[streams]`: the embedding `[streams, D]`, and its modulation `[streams, 6, D]`."""

        def project(part: str, x: Tensor) -> Tensor:
            full = f"{name}.{part}"
            return FusedLinear.of(self.transformer, [full], self.weights, self.pairs.get(full))(x)

        x = module.act1(project("linear_1", module.time_sinusoid(t * module.scale).to(t.dtype)[:, None]))
        x = project("linear_2", x)
        return x[:, 0], project("time_proj", module.act2(x))[:, 0].unflatten(1, (6, -1))


def _embeds_time(name: str) -> bool:
    return name.startswith("time_embed")


def _block_size(tokens: Sequence[int]) -> int:
    """Tokens per block: the largest number with little padding, since each block has a copy of its adapter."""
    total = sum(tokens)
    for size in range(max(tokens), _MIN_BLOCK_SIZE, -1):
        if sum(-count % size for count in tokens) <= _MAX_PADDING * total:
            return size
    return _MIN_BLOCK_SIZE
