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
    """The state of one run. `live` holds the lines that are in the batch, by index, in the batch's order."""

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
        self._window = min(
            round(_WINDOW_SECONDS * model.audio_encoder.config.frame_rate),
            config.max_position_embeddings - 1 - max(self._delays),
        )
        self._overlap = round(self._window * _OVERLAP)
        self._lines, self._sampling, self._decoder = lines, sampling, decoder
        self._generators = [torch.Generator().manual_seed(line.seed) for line in lines]
        self._codes = [torch.full((config.num_codebooks, line.frames), _UNKNOWN, device=model.device) for line in lines]
        self._live = list(range(len(lines)))
        self._broken = torch.zeros(len(lines), dtype=torch.bool, device=model.device)
        self._results: dict[int, torch.Tensor | FloatingPointError] = {}

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
            done = {row for row, end in enumerate(ends) if position == end + max(self._delays)}
            for row in done:
                index = self._live[row]
                written = undelay(positions[row], self._delays)[:, : ends[row]]
                self._codes[index][:, start : start + ends[row]] = written
                if start + ends[row] == self._lines[index].frames:
                    self._results[index] = self._codes[index]
            if done or position % _LOOK_EVERY == 0:
                broken = {row for row, bad in enumerate(self._broken.tolist()) if bad}
                for row in broken:
                    self._results[self._live[row]] = FloatingPointError("the model's logits are not finite")
                stay = [row for row in range(len(ends)) if self._live[row] not in self._results]
                if len(stay) < len(ends):
                    positions, ends = positions[stay], [ends[row] for row in stay]
                    self._keep(stay)
                if not self._live:
                    return
            read = positions[:, :, position : position + 1]

    def _next(self, read: torch.Tensor) -> torch.Tensor:
        """The codes `[rows, K]` that follow those at the positions just written."""
        told, untold = self._decoder.step(read)
        guidance = told.new_tensor([self._lines[index].guidance for index in self._live])
        logits = torch.lerp(untold, told, guidance[:, None, None])
        self._broken |= ~torch.isfinite(logits).flatten(1).all(dim=1)
        return choose(logits, self._sampling, [self._generators[index] for index in self._live])

    def _keep(self, rows: list[int]) -> None:
        self._live = [self._live[row] for row in rows]
        self._broken = self._broken[rows]
        if rows:
            self._decoder.keep(rows)
