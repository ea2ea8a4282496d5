"""The timbre encoder's token, computed for training: only what the token depends on."""

from __future__ import annotations

import torch
from diffusers.models.embeddings import apply_rotary_emb
from diffusers.models.transformers.ace_step_transformer import _ace_step_rotary_freqs
from diffusers.pipelines.ace_step.modeling_ace_step import AceStepEncoderLayer, AceStepTimbreEncoder
from torch.nn import functional as F

from ..architecture import LatentShape

LAYERS = 2
BLOCK = 128
"""Frames that the first layer computes at a time."""
PART_SECONDS = 10.0


def timbre_token(encoder: AceStepTimbreEncoder, reference: torch.Tensor) -> torch.Tensor:
    """The output of a timbre encoder of two layers for references `[B, T, channels]`, `[B, 1, TEXT_WIDTH]`.

    It equals the encoder's own, for a hundredth of the memory: the first layer attends to neighbours only, so that
    blocks with a margin are enough, and of the second only the first token is used.
    """
    local, whole = encoder.layers
    states = _blockwise(local, encoder.embed_tokens(reference), encoder.sliding_window, encoder.rope_theta)
    attention = whole.self_attn
    normed = whole.input_layernorm(states)
    query = attention.norm_q(attention.to_q(normed[:, :1]).unflatten(-1, (attention.heads, -1)))
    key = attention.norm_k(attention.to_k(normed).unflatten(-1, (attention.kv_heads, -1)))
    value = attention.to_v(normed).unflatten(-1, (attention.kv_heads, -1))
    rotary = _ace_step_rotary_freqs(states.shape[1], encoder.head_dim, encoder.rope_theta, key.device, key.dtype)
    # The query is at position 0, whose rotation is none.
    key = apply_rotary_emb(key, rotary, use_real=True, use_real_unbind_dim=-2, sequence_dim=1)
    query, key, value = (part.transpose(1, 2).to(value.dtype) for part in (query, key, value))
    found = F.scaled_dot_product_attention(query, key, value, scale=attention.scaling, enable_gqa=True)
    token = states[:, :1] + attention.to_out[0](found.transpose(1, 2).flatten(2))
    token = token + whole.mlp(whole.post_attention_layernorm(token))
    return encoder.norm(token)


def _blockwise(layer: AceStepEncoderLayer, states: torch.Tensor, reach: int, theta: float) -> torch.Tensor:
    """A layer whose attention reaches `reach` frames, on blocks with a margin of that many."""
    count, length, width = states.shape
    blocks, size = -(-length // BLOCK), BLOCK + 2 * reach
    padded = F.pad(states, (0, 0, reach, blocks * BLOCK - length + reach))
    cut = padded.unfold(1, size, BLOCK).transpose(2, 3).reshape(count * blocks, size, width)
    place = torch.arange(size, device=states.device)
    frame = place + BLOCK * torch.arange(blocks, device=states.device)[:, None] - reach
    near = (place[:, None] - place).abs() <= reach
    # Frames beyond the ends attend to themselves, as a row without any would not be a number.
    seen = (near & ((frame >= 0) & (frame < length))[:, None]) | torch.eye(size, dtype=torch.bool, device=states.device)
    mask = torch.zeros(seen.shape, device=states.device, dtype=states.dtype)
    mask.masked_fill_(~seen, torch.finfo(states.dtype).min)
    rotary = _ace_step_rotary_freqs(size, layer.self_attn.head_dim, theta, states.device, states.dtype)
    done = layer(cut, rotary, mask.repeat(count, 1, 1)[:, None])
    return done[:, reach : reach + BLOCK].reshape(count, blocks * BLOCK, width)[:, :length]


def reference_of(latents: torch.Tensor, shape: LatentShape) -> torch.Tensor:
    """Front, middle and back of a piece, repeated to 30 s, as the pipeline cuts references, `[T, channels]`."""
    part = shape.frames(PART_SECONDS)
    whole = latents.repeat(-(-3 * part // len(latents)), 1)
    middle = len(whole) // 3
    return torch.cat([whole[:part], whole[middle : middle + part], whole[-part:]])
