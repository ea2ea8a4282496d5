"""The trainer of MusicGen: cross-entropy over the delayed codebooks.

Copet et al., Simple and Controllable Music Generation (arXiv:2306.05284).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import cross_entropy, pad
from torch.nn.utils.rnn import pad_sequence
from torch.utils.checkpoint import checkpoint
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import eager_mask

from models.base import Text
from models.musicgen import codec
from models.musicgen.model import MusicGen
from models.musicgen.pattern import delay, delays
from training.base import Example, Recipe, steps_for

TARGETS = ("q_proj", "k_proj", "v_proj", "out_proj")
# Longer clips are trained on in random crops of this length.
_CROP_SECONDS = 10.0
# The dropout of the text, for classifier-free guidance.
_TEXT_DROPOUT = 0.1
# A good learning rate at MusicGen-small's width. The best rate falls as the width grows.
_RATE, _WIDTH = 2e-4, 1024
# The name of the attention function on a CPU, where unfused attention is faster in training.
ATTENTION = "plain"


def _attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float = 1.0,
    **_: object,
) -> tuple[torch.Tensor, None]:
    """Attention with the signature of transformers' attention functions.

    The scores are masked in place and keep their precision, so that nothing of their size is copied.

    Args:
        query, key, value: `[rows, heads, T, size]`.

    Returns:
        `[rows, T, heads, size]`.
    """
    scores = (query * scaling) @ key.transpose(2, 3)
    if attention_mask is not None:
        scores += attention_mask.to(scores.dtype)
    with torch.autocast(scores.device.type, enabled=False):
        weights = scores.softmax(dim=-1)
    return (weights @ value).transpose(1, 2).contiguous(), None


AttentionInterface.register(ATTENTION, _attend)
AttentionMaskInterface.register(ATTENTION, eager_mask)


class MusicGenTrainer:
    """Implements `training.base.Trainer`."""

    def __init__(self, model: MusicGen) -> None:
        self.model = model
        self.decoder = model.model.decoder
        config = self.decoder.config
        self._delays = delays(config.num_codebooks, config.audio_channels)
        self._pad: int = config.vocab_size
        self._crop = round(_CROP_SECONDS * model.frame_rate)
        if model.device.type == "cpu":
            self.decoder.set_attn_implementation(ATTENTION)

    def recipe(self, seconds: float) -> Recipe:
        steps = steps_for(seconds, self.model.backend)
        rate = _RATE * _WIDTH / self.decoder.config.hidden_size
        return Recipe(
            steps=steps, batch=4, rank=16, alpha=32, targets=TARGETS, learning_rate=rate, warmup=min(50, steps // 10)
        )

    def example(self, audio: NDArray[np.float32], text: Text) -> Example:
        """`codes` `[K, T]` and `text` `[L, hidden]`."""
        return {"codes": codec.encode(self.model.codec, audio), "text": self.model.encode_text(text)}

    def losses(self, examples: Sequence[Example], generators: Sequence[torch.Generator]) -> torch.Tensor:
        """The mean cross-entropy, in nats, over all codes of a random crop of each example."""
        device = self.model.device
        pairs = list(zip(examples, generators, strict=True))
        crops = [self._cropped(example["codes"], generator).to(device) for example, generator in pairs]
        frames = max(crop.shape[1] for crop in crops)
        codes = torch.stack([pad(crop, (0, frames - crop.shape[1]), value=self._pad) for crop in crops])
        # Position 0 of the delayed codes is padding that starts the sequence; each position predicts the next one.
        delayed = delay(codes, self._delays, self._pad)
        texts = [example["text"].to(device) for example in examples]
        kept = torch.tensor([torch.rand((), generator=generator) >= _TEXT_DROPOUT for generator in generators])
        predict = self._predict_melody if self.model.melody else self._predict
        logits = predict(delayed[..., :-1], texts, kept.to(device))
        # One example at a time, since the logits of a batch in float32 take much memory.
        predicted, wanted = logits.unflatten(0, codes.shape[:2]), delayed[..., 1:]
        return torch.stack(
            [
                cross_entropy(row.flatten(0, 1).float(), target.flatten(), ignore_index=self._pad)
                for row, target in zip(predicted, wanted, strict=True)
            ]
        )

    def _predict(self, delayed: torch.Tensor, texts: list[torch.Tensor], kept: torch.Tensor) -> torch.Tensor:
        """The logits `[rows × K, P, V]` for codes `[rows, K, P]`."""
        mask = pad_sequence([text.new_ones(text.shape[0], dtype=torch.long) for text in texts], batch_first=True)
        states = pad_sequence(texts, batch_first=True) * kept[:, None, None]
        logits: torch.Tensor = self.decoder(
            input_ids=delayed.flatten(0, 1),
            encoder_hidden_states=states,
            encoder_attention_mask=mask,
            use_cache=False,
        ).logits
        return logits

    def _predict_melody(self, delayed: torch.Tensor, texts: list[torch.Tensor], kept: torch.Tensor) -> torch.Tensor:
        """The same where the text stands before the codes, row by row: padding between them would move the codes."""
        assert self.model.melody is not None
        logits = []
        for codes, text, keep in zip(delayed, texts, kept.tolist(), strict=True):
            (prefix,) = self.model.melody.prefixes(text, None, [0])
            states = prefix[:1] if keep else prefix[1:]
            row = self.decoder(input_ids=codes, encoder_hidden_states=states, use_cache=False).logits
            logits.append(row[:, states.shape[1] :])
        return torch.cat(logits)

    def save_memory(self) -> None:
        for layer in self.decoder.model.decoder.layers:
            layer.forward = partial(checkpoint, layer.forward, use_reentrant=False)

    def _cropped(self, codes: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        length = min(codes.shape[1], self._crop)
        start = int(torch.randint(codes.shape[1] - length + 1, (), generator=generator))
        return codes[:, start : start + length]
