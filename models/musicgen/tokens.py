"""The loop over tokens: rows of their own text, length, seed, guidance and adapters, written together.

Tracks longer than the window that the decoder was trained on go on in further windows, each of which begins with the
last part of what is there, as MusicGen's authors do it. All rows are at the same position of the same window, so that
they stay one batch; a row that has all its codes leaves it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import MusicgenForConditionalGeneration

from models.lora_rows import RowAdapters
from models.musicgen.decoder import Batch, batch
from models.musicgen.pattern import delay, delays, undelay
from models.musicgen.sampling import Sampling, choose

# The length that MusicGen was trained on, and how much of it the next window takes over.
_WINDOW_SECONDS = 30.0
_OVERLAP = 12 / 30
_UNKNOWN = -1
# To look at a result on a GPU is to wait for it, so rows are looked at once a second of audio.
_LOOK_EVERY = 50


@dataclass(frozen=True)
class Line:
    """One row to write.

    Attributes:
        text: `[L, hidden]`.
        frames: how many.
        seed: of what is drawn.
        guidance: classifier-free guidance scale.
        adapters: of this row.
    """

    text: torch.Tensor
    frames: int
    seed: int
    guidance: float
    adapters: RowAdapters = ()


@torch.inference_mode()
def write(
    model: MusicgenForConditionalGeneration, lines: Sequence[Line], sampling: Sampling
) -> list[torch.Tensor | FloatingPointError]:
    """The codes of each line, `[K, frames]`, or that its logits were not finite."""
    if not lines:
        return []
    with batch(model.decoder, [line.text for line in lines], [line.adapters for line in lines]) as decoder:
        return _Writer(model, lines, sampling, decoder).run()


class _Writer:
    """The state of one run. `_live` holds the lines that are in the batch, by index, in the batch's order."""

    def __init__(
        self,
        model: MusicgenForConditionalGeneration,
        lines: Sequence[Line],
        sampling: Sampling,
        decoder: Batch,
    ) -> None:
        config = model.decoder.config
        self._delays = delays(config.num_codebooks, config.audio_channels)
        self._pad = config.vocab_size  # the embeddings' last row
        trained = round(_WINDOW_SECONDS * model.audio_encoder.config.frame_rate)
        self._window = min(trained, config.max_position_embeddings - 1 - max(self._delays))
        self._overlap = round(self._window * _OVERLAP)
        self._lines, self._sampling, self._decoder = lines, sampling, decoder
        self._codes = [torch.full((config.num_codebooks, line.frames), _UNKNOWN, device=model.device) for line in lines]
        self._results: dict[int, torch.Tensor | FloatingPointError] = {}
        self._live = list(range(len(lines)))
        self._generators = [torch.Generator().manual_seed(line.seed) for line in lines]
        self._guidance = torch.tensor([line.guidance for line in lines], device=model.device)
        self._broken = torch.zeros(len(lines), dtype=torch.bool, device=model.device)

    def run(self) -> list[torch.Tensor | FloatingPointError]:
        start = 0
        while self._live:
            self._write_window(start)
            start += self._window - self._overlap
        return [self._results[index] for index in range(len(self._lines))]

    def _write_window(self, start: int) -> None:
        """Write all live lines' frames from `start` up to the window's end."""
        ends = [min(self._lines[index].frames - start, self._window) for index in self._live]
        frames = self._codes[0].new_full((len(ends), len(self._delays), max(ends)), self._pad)
        for row, (index, end) in enumerate(zip(self._live, ends)):
            frames[row, :, :end] = self._codes[index][:, start : start + end]
        # Where this says unknown a code is to be chosen; what is known, and padding, stays.
        positions = delay(frames, self._delays, self._pad)
        known = 1 + (self._overlap if start else 0)
        self._decoder.begin(positions.shape[-1] - 1)
        read = positions[:, :, :known]
        for position in range(known, positions.shape[-1]):
            column = positions[:, :, position]
            column.copy_(torch.where(column == _UNKNOWN, self._next(read), column))
            last = [row for row, end in enumerate(ends) if position == end + max(self._delays)]
            for row in last:
                self._put_down(self._live[row], start, undelay(positions[row], self._delays)[:, : ends[row]])
            if last or position % _LOOK_EVERY == 0:
                stay = self._drop()
                if not stay:
                    return
                positions, ends = positions[stay], [ends[row] for row in stay]
            read = positions[:, :, position : position + 1]

    def _next(self, read: torch.Tensor) -> torch.Tensor:
        """The codes `[rows, K]` that follow those at the positions just written."""
        told, untold = self._decoder.step(read)
        logits = torch.lerp(untold, told, self._guidance[:, None, None])
        self._broken |= ~torch.isfinite(logits).flatten(1).all(dim=1)
        return choose(logits, self._sampling, self._generators)

    def _put_down(self, index: int, start: int, codes: torch.Tensor) -> None:
        end = start + codes.shape[-1]
        self._codes[index][:, start:end] = codes
        if end == self._lines[index].frames:
            self._results[index] = self._codes[index]

    def _drop(self) -> list[int]:
        """Take the rows that have all their codes, or will never have, out of the batch; those that stay."""
        for row, broken in enumerate(self._broken.tolist()):
            if broken:
                self._results[self._live[row]] = FloatingPointError("the model's logits are not finite")
        stay = [row for row, index in enumerate(self._live) if index not in self._results]
        if len(stay) < len(self._live):
            self._live = [self._live[row] for row in stay]
            self._generators = [self._generators[row] for row in stay]
            self._guidance, self._broken = self._guidance[stay], self._broken[stay]
            if stay:
                self._decoder.keep(stay)
        return stay
