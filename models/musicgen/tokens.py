"""The loop over tokens: rows of their own text, length, seed, guidance and adapters, each at its own position.

Tracks longer than the window that the decoder was trained on go on in further windows, each of which begins with the
last part of what is there, as MusicGen's authors do it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from transformers import MusicgenForConditionalGeneration

from adapters.batched_lora import Pairs, Weights
from models.base import Interruptible
from models.musicgen.decoder import Decoder, reader
from models.musicgen.layer import forward
from models.musicgen.pattern import delay, delays, undelay
from models.musicgen.sampling import choose

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
        temperature: of the distribution that is drawn from; 0 takes the likeliest.
        top_k: only so many of the likeliest codes can be drawn.
        pairs, weights: its adapters.
    """

    text: Tensor
    frames: int
    seed: int
    guidance: float
    temperature: float = 1.0
    top_k: int = 250
    pairs: Pairs = field(default_factory=dict)
    weights: Weights = field(default_factory=dict)


@dataclass(frozen=True)
class Windows:
    """How a track is cut into what the decoder writes at once, in frames."""

    length: int
    overlap: int
    delays: Sequence[int]

    @classmethod
    def of(cls, model: MusicgenForConditionalGeneration) -> Windows:
        config = model.decoder.config
        by = delays(config.num_codebooks, config.audio_channels)
        trained = round(_WINDOW_SECONDS * model.audio_encoder.config.frame_rate)
        length = min(trained, config.max_position_embeddings - 1 - max(by))
        return cls(length, round(length * _OVERLAP), by)

    def steps(self, frames: int, start: int = 0) -> int:
        """Of the window that starts at frame `start` of a track, and of all that follow."""
        steps = 0
        while True:
            end = min(frames, start + self.length)
            steps += end - start - (self.overlap if start else 0) + max(self.delays)
            if end == frames:
                return steps
            start += self.length - self.overlap


class Run:
    """A line on its way. `positions` `[K, P]` is the present window: what is written, and `_UNKNOWN`.

    Attributes:
        next: the position that is written next; all before it are known.
        steps_left: 0 too once it is known that there will be no audio.
    """

    @torch.inference_mode()
    def __init__(self, model: MusicgenForConditionalGeneration, line: Line) -> None:
        self.line = line
        self.windows = Windows.of(model)
        self.pad = model.decoder.config.vocab_size  # the embeddings' last row
        self.reader = reader(model.decoder, line.text, line.pairs, line.weights)
        # Drawn on the CPU, so that a seed means the same music on every device.
        self.generator = torch.Generator().manual_seed(line.seed) if line.temperature else None
        self.codes = torch.full((len(self.windows.delays), line.frames), _UNKNOWN, device=model.device)
        self.broken = False
        self._open(0)

    @property
    def begins(self) -> bool:
        """Whether nothing of the present window was read yet."""
        return self.next == self.known

    @property
    def most_positions(self) -> int:
        """Of any window of the track."""
        return 1 + min(self.line.frames, self.windows.length) + max(self.windows.delays)

    @property
    def steps_left(self) -> int:
        if self.broken or self.complete:
            return 0
        later = self.line.frames > self._end
        following = self.windows.steps(self.line.frames, self._following) if later else 0
        return self.positions.shape[-1] - self.next + following

    @property
    def complete(self) -> bool:
        return self.next == self.positions.shape[-1] and self._end == self.line.frames

    def written(self) -> None:
        """The position `next` was written."""
        self.next += 1
        if self.next == self.positions.shape[-1]:
            frames = undelay(self.positions, self.windows.delays)
            self.codes[:, self._start : self._end] = frames
            if self._end < self.line.frames:
                self._open(self._following)

    @property
    def _following(self) -> int:
        return self._start + self.windows.length - self.windows.overlap

    def _open(self, start: int) -> None:
        self._start, self._end = start, min(self.line.frames, start + self.windows.length)
        self.positions = delay(self.codes[:, self._start : self._end], self.windows.delays, self.pad)
        self.next = self.known = 1 + (self.windows.overlap if start else 0)


class Batch:
    """Runs that are written together. Their `positions` are parts of one tensor, `[rows, K, P]`.

    Attributes:
        logits: of the last step, `[rows, K, V]`.
    """

    logits: Tensor

    @torch.inference_mode()
    def __init__(
        self,
        model: MusicgenForConditionalGeneration,
        runs: Sequence[Run],
        step_layer: Callable[..., Tensor] = forward,
    ) -> None:
        self.runs = runs
        most = max(run.most_positions for run in runs)
        self._decoder = Decoder(model.decoder, [run.reader for run in runs], most, step_layer)
        device = model.device
        self._positions = torch.full((len(runs), len(runs[0].windows.delays), most), runs[0].pad, device=device)
        for row in range(len(runs)):
            self._take_in(row)
        self._rows = torch.arange(len(runs), device=device)
        self._next = torch.tensor([run.next for run in runs], device=device)
        self._guidance = torch.tensor([run.line.guidance for run in runs], device=device)[:, None, None]
        self._temperature = torch.tensor([run.line.temperature or 1.0 for run in runs], device=device)[:, None, None]
        # The sum of all logits, which is not finite once one of them was not.
        self._total = torch.zeros(len(runs), device=device)
        self._taken = 0

    @torch.inference_mode()
    def step(self) -> Interruptible:
        for row, run in enumerate(self.runs):
            # A window that takes over the end of the last one: all of it but the last position.
            if run.begins and run.known > 1:
                self._decoder.read(row, run.positions[:, : run.known - 1])
                yield
        at = self._next - 1
        told, untold = self._decoder.step(
            self._positions[self._rows, :, at], at, max(run.next for run in self.runs) - 1
        )
        logits = self.logits = torch.lerp(untold, told, self._guidance)
        # In single precision, for the sum of finite half precision numbers may be too large for one.
        self._total += logits.sum(dim=(1, 2), dtype=torch.float32)
        chosen = choose(logits / self._temperature, self.runs[0].line.top_k, [run.generator for run in self.runs])
        # What is known already, and padding, stays.
        column = self._positions[self._rows, :, self._next]
        self._positions[self._rows, :, self._next] = torch.where(column == _UNKNOWN, chosen, column)
        self._next += 1
        self._taken += 1
        for row, run in enumerate(self.runs):
            run.written()
            if run.next == run.known:
                self._take_in(row)
                self._next[row].fill_(run.next)
        if self._taken % _LOOK_EVERY == 0 or any(run.complete for run in self.runs):
            for run, total in zip(self.runs, self._total.tolist(), strict=True):
                run.broken |= not math.isfinite(total)
        return
        yield

    def _take_in(self, row: int) -> None:
        """A run's window becomes a part of the batch's tensor."""
        run = self.runs[row]
        count = run.positions.shape[-1]
        self._positions[row, :, :count] = run.positions
        run.positions = self._positions[row, :, :count]
