"""The loop over tokens, for rows with different texts, lengths, seeds, guidance and adapters, at different positions.

Tracks longer than the decoder's context window continue in further windows, each of which begins with the end of the
previous one, as in MusicGen's original code.
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
from models.musicgen.codec import PieceDecoder
from models.musicgen.decoder import Decoder, RowState, begin_row
from models.musicgen.layer import forward
from models.musicgen.pattern import delay, delays, undelay
from models.musicgen.sampling import choose

# The length that MusicGen was trained on.
_WINDOW_SECONDS = 30.0
# Share of a window that is taken over from the previous one.
_OVERLAP = 12 / 30
_UNKNOWN = -1
# Steps between checks for logits that are not finite: reading a result from a GPU blocks.
_CHECK_EVERY = 50


@dataclass(frozen=True)
class TokenRow:
    """A row as the token loop takes it.

    Attributes:
        text: the encoded text, `[L, hidden]`.
        frames: number of frames, those of the prompt included.
        seed: seed of the random generator.
        guidance: classifier-free guidance scale.
        temperature: sampling temperature; 0 takes the likeliest code.
        top_k: number of the likeliest codes from which one is drawn.
        pairs, weights: its adapters, as LoRA pairs and as merged weights, by layer.
        prefixes: for each window the states in front of its positions, `[2, n, hidden]`, conditional and unconditional;
            only in checkpoints without cross-attention.
        prompt: codes of the first frames, `[K, P]`, at most as many as a window takes over from the previous one.
    """

    text: Tensor
    frames: int
    seed: int
    guidance: float
    temperature: float = 1.0
    top_k: int = 250
    pairs: Pairs = field(default_factory=dict)
    weights: Weights = field(default_factory=dict)
    prompt: Tensor | None = None
    prefixes: Sequence[Tensor] = ()

    @property
    def prompt_frames(self) -> int:
        return 0 if self.prompt is None else self.prompt.shape[-1]


@dataclass(frozen=True)
class Windows:
    """How a track is divided into windows.

    Attributes:
        length: length of a window in frames.
        overlap: frames that a window takes over from the previous one.
        delays: delay of each codebook, in positions.
    """

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

    def starts(self, frames: int) -> list[int]:
        """The first frame of each window of a track."""
        stride = self.length - self.overlap
        return [number * stride for number in range(1 + max(0, -(-(frames - self.length) // stride)))]

    def steps(self, frames: int, start: int = 0, prompt: int = 0) -> int:
        """Number of steps of the window that starts at frame `start` of a track, and of all windows after it.

        Args:
            prompt: number of the track's first frames that are known.
        """
        steps = 0
        while True:
            end = min(frames, start + self.length)
            steps += end - start - (self.overlap if start else prompt) + max(self.delays)
            if end == frames:
                return steps
            start += self.length - self.overlap


class Run:
    """The state of a row that is being written.

    Attributes:
        positions: the current window `[K, P]`: codes in the delay pattern, `_UNKNOWN` where not written yet.
        next: the position to write next; all before it are written.
        known: the first position of the window that was not taken over.
        codes: the track's codes by frame, `[K, frames]`.
        steps_left: number of steps to take; 0 if the row is broken.
        broken: whether its logits were not finite, so that there will be no audio.
        pieces: decodes its audio while it is written; None if it is decoded afterwards.

    Args:
        state: the decoder's state before the first code; it is computed if left out.
    """

    @torch.inference_mode()
    def __init__(self, model: MusicgenForConditionalGeneration, row: TokenRow, state: RowState | None = None) -> None:
        self.row = row
        self.windows = Windows.of(model)
        self.pad = model.decoder.config.vocab_size  # the embeddings' last row
        self.state = state or begin_row(model.decoder, row.text, row.pairs, row.weights)
        # Drawn on the CPU, so that a seed gives the same music on every device.
        self.generator = torch.Generator().manual_seed(row.seed) if row.temperature else None
        self.codes = torch.full((len(self.windows.delays), row.frames), _UNKNOWN, device=model.decoder.device)
        if row.prompt is not None:
            self.codes[:, : row.prompt_frames] = row.prompt
        self.broken = False
        self.pieces: PieceDecoder | None = None
        self._open(0)

    @property
    def window_is_new(self) -> bool:
        """Whether the decoder has read nothing of the current window."""
        return self.next == self.known

    @property
    def max_positions(self) -> int:
        """The number of positions of the track's longest window."""
        return 1 + min(self.row.frames, self.windows.length) + max(self.windows.delays)

    @property
    def steps_left(self) -> int:
        if self.broken or self.complete:
            return 0
        later = self.row.frames > self._end
        in_later_windows = self.windows.steps(self.row.frames, self._next_start) if later else 0
        return self.positions.shape[-1] - self.next + in_later_windows

    @property
    def complete(self) -> bool:
        return self.next == self.positions.shape[-1] and self._end == self.row.frames

    @property
    def frames_written(self) -> int:
        """The number of the track's first frames of which all codes are known."""
        if self.complete:
            return self.row.frames
        taken_over = self.windows.overlap if self._start else self.row.prompt_frames
        return self._start + max(taken_over, self.next - 1 - max(self.windows.delays))

    def written(self) -> Tensor:
        """The codes of the first `frames_written` frames, `[K, frames]`."""
        in_window = self.next - 1 - max(self.windows.delays)
        if in_window > 0:
            codes = undelay(self.positions[:, : self.next], self.windows.delays)
            self.codes[:, self._start : self._start + in_window] = codes
        return self.codes[:, : self.frames_written]

    def advance(self) -> None:
        """Go to the next position, and to the next window at the end of this one."""
        self.next += 1
        if self.next == self.positions.shape[-1]:
            frames = undelay(self.positions, self.windows.delays)
            self.codes[:, self._start : self._end] = frames
            if self._end < self.row.frames:
                self._open(self._next_start)

    @property
    def _next_start(self) -> int:
        """The frame at which the next window starts."""
        return self._start + self.windows.length - self.windows.overlap

    def _open(self, start: int) -> None:
        """Start the window at frame `start`."""
        self._start, self._end = start, min(self.row.frames, start + self.windows.length)
        if self.row.prefixes:
            self.state.prefix = self.row.prefixes[start // (self.windows.length - self.windows.overlap)]
        self.positions = delay(self.codes[:, self._start : self._end], self.windows.delays, self.pad)
        self.next = self.known = 1 + (self.windows.overlap if start else self.row.prompt_frames)


class Batch:
    """Runs that take their steps together. Their `positions` are views of one tensor, `[rows, K, P]`.

    Attributes:
        logits: logits of the last step with guidance applied, `[rows, K, V]`.
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
        max_positions = max(run.max_positions for run in runs)
        self._decoder = Decoder(model.decoder, [run.state for run in runs], max_positions, step_layer)
        device = model.decoder.device
        shape = (len(runs), len(runs[0].windows.delays), max_positions)
        self._positions = torch.full(shape, runs[0].pad, device=device)
        for row in range(len(runs)):
            self._copy_window(row)
        self._rows = torch.arange(len(runs), device=device)
        self._next = torch.tensor([run.next for run in runs], device=device)
        self._guidance = torch.tensor([run.row.guidance for run in runs], device=device)[:, None, None]
        self._temperature = torch.tensor([run.row.temperature or 1.0 for run in runs], device=device)[:, None, None]
        # Each row's sum of all logits so far, which is not finite once a logit was not.
        self._logits_sum = torch.zeros(len(runs), device=device)
        self._steps_taken = 0

    @torch.inference_mode()
    def step(self) -> Interruptible:
        for row, run in enumerate(self.runs):
            # A window that begins with known codes, or behind a prefix: read them, but for the last position.
            if run.window_is_new and (run.known > 1 or run.state.prefix is not None):
                self._decoder.read(row, run.positions[:, : run.known - 1])
                yield
        at = self._next - 1
        cond, uncond = self._decoder.step(
            self._positions[self._rows, :, at], at, max(run.next for run in self.runs) - 1
        )
        logits = self.logits = torch.lerp(uncond, cond, self._guidance)
        # In single precision: a sum of finite numbers may overflow in half precision.
        self._logits_sum += logits.sum(dim=(1, 2), dtype=torch.float32)
        chosen = choose(logits / self._temperature, self.runs[0].row.top_k, [run.generator for run in self.runs])
        # Codes that were taken over, and padding, are not overwritten.
        column = self._positions[self._rows, :, self._next]
        self._positions[self._rows, :, self._next] = torch.where(column == _UNKNOWN, chosen, column)
        self._next += 1
        self._steps_taken += 1
        for row, run in enumerate(self.runs):
            run.advance()
            if run.window_is_new:
                self._copy_window(row)
                self._next[row].fill_(run.next)
        if self._steps_taken % _CHECK_EVERY == 0 or any(run.complete for run in self.runs):
            for run, logits_sum in zip(self.runs, self._logits_sum.tolist(), strict=True):
                run.broken |= not math.isfinite(logits_sum)

    def _copy_window(self, row: int) -> None:
        """Copy a run's window into the batch's tensor, and make it a view of it."""
        run = self.runs[row]
        count = run.positions.shape[-1]
        self._positions[row, :, :count] = run.positions
        run.positions = self._positions[row, :, :count]
