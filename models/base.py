"""What every backend's model offers to its runner and to its trainer."""

from __future__ import annotations

from collections.abc import Generator, Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from contract import SamplingOptions

if TYPE_CHECKING:
    import torch

    from adapters.tensors import AdapterWeights
    from models.checkpoints import Checkpoint

# What one row came to: its audio, float32 `[channels, samples]` within ±1, or why that row alone failed.
Track = NDArray[np.float32] | Exception

T = TypeVar("T")


@dataclass(frozen=True)
class Text:
    """What the conditioner reads, in training and in generation alike.

    Attributes:
        prompt: the caption or the artist's prompt.
        lyrics: empty for instrumental music.
        bpm: beats per minute.
        key: such as `A minor`.
        time_signature: the numerator, such as `4`.
    """

    prompt: str
    lyrics: str = ""
    bpm: int | None = None
    key: str | None = None
    time_signature: str | None = None


@dataclass(frozen=True)
class Row:
    """One request, as a row of a batch.

    Attributes:
        text: what to play.
        seconds: duration.
        options: how it is sampled.
        adapters: each with its strength; empty for the base model.
    """

    text: Text
    seconds: float
    options: SamplingOptions
    adapters: Sequence[tuple[AdapterWeights, float]] = ()


# Work that can be interrupted: at every `yield` another batch may go first. The result is what it returns.
Interruptible = Generator[None, None, None]


@dataclass(frozen=True)
class Plan:
    """What a row will take, known before anything is computed for it.

    Attributes:
        steps: of its batch.
        cost: of one step, in a unit of the model's own (such as tokens).
        lane: only rows of the same lane can be in a batch; `None` is the lane of all that can be mixed.
    """

    steps: int
    cost: float
    batch_key: Hashable = None


class Run(Protocol):
    """A row on its way: everything that is its own, so that it can move from one batch to another."""

    @property
    def steps_left(self) -> int: ...


class Batch(Protocol):
    """Runs that take their steps together, until it is given up for another one."""

    def step(self) -> Interruptible:
        """Take every run one step further. One that breaks off halfway has changed none of them."""
        ...


R = TypeVar("R", bound=Run)


class Model(Protocol[R]):
    """A loaded checkpoint. It is not safe to call from two threads at once."""

    backend: ClassVar[str]
    sample_rate: int
    channels: int

    @property
    def device(self) -> torch.device: ...

    @property
    def dtype(self) -> torch.dtype: ...

    @classmethod
    def load(cls, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype) -> Self:
        """Load with `from_pretrained` from the checkpoint's folder. Raises `CheckpointError` if it does not fit."""
        ...

    def compile(self) -> None:
        """Compile what runs for each layer from now on. Nothing, where a model has no such thing."""

    @property
    def adapted(self) -> torch.nn.Module:
        """The module whose Linear layers adapters change."""
        ...

    def file_name(self, module: str) -> str:
        """The name that adapter files give to the Linear layer `module` of `adapted`."""
        ...

    @property
    def overhead(self) -> float:
        """An estimate of what a step costs beyond its rows' own costs, in the same unit: small where one row fills the
        device."""
        ...

    def plan(self, row: Row) -> Plan:
        """What the row will take. Raises what is wrong with it."""
        ...

    def begin(self, row: Row) -> R:
        """Everything that is computed once for a row. Raises what is wrong with it."""
        ...

    def batch(self, runs: Sequence[R]) -> Batch:
        """Runs of one lane, from now on together; the batches that they were in are over."""
        ...

    def finish(self, run: R, row: Row) -> Generator[None, None, NDArray[np.float32]]:
        """The audio of a run with no steps left. Raises what is wrong with it."""
        ...

    def response(self, row: Row) -> Generator[None, None, torch.Tensor]:
        """What the model makes of a row, as numbers by which two rows can be compared: the row's audio, if a backend
        knows nothing that is cheaper. Raises what is wrong with it."""
        import torch

        run = self.begin(row)
        while run.steps_left:
            yield from self.batch([run]).step()
        return torch.from_numpy((yield from self.finish(run, row)))

    def generate(self, rows: Sequence[Row]) -> list[Track]:
        """The audio of every row, in order, all in as few batches as can be. A row that fails fails alone."""
        tracks: dict[int, Track] = {}
        batch_keys: dict[Hashable, dict[int, R]] = {}
        for index, row in enumerate(rows):
            try:
                batch_key = self.plan(row).batch_key
                batch_keys.setdefault(batch_key, {})[index] = self.begin(row)
            except Exception as error:  # noqa: BLE001 - whatever is wrong with one row is that row's answer
                tracks[index] = error
        for runs in batch_keys.values():
            self._run(list(runs.values()))
            for index, run in runs.items():
                try:
                    tracks[index] = completed(self.finish(run, rows[index]))
                except Exception as error:  # noqa: BLE001 - as above
                    tracks[index] = error
        return [tracks[index] for index in range(len(rows))]

    def _run(self, runs: Sequence[R]) -> None:
        while left := [run for run in runs if run.steps_left]:
            batch = self.batch(left)
            for _ in range(min(run.steps_left for run in left)):
                completed(batch.step())


def completed(work: Generator[None, None, T]) -> T:
    """What interruptible work returns, done without interruption."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: T = end.value
            return result
