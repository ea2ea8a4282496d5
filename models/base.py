"""The interface of a backend's model to its runner and its trainer."""

from __future__ import annotations

from collections.abc import Callable, Generator, Hashable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from contract import SamplingOptions
from contract.tasks import Task, TrackName
from models.traits import DEFAULT_TRAITS, Traits

if TYPE_CHECKING:
    import torch

    from adapters.merged_weights import MergedWeights
    from adapters.weights import AdapterWeights
    from models.checkpoints import Checkpoint
    from models.memory import MemoryMode

# The result of one row: its audio, float32 `[channels, samples]` within ±1, or the error with which it failed.
Track = NDArray[np.float32] | Exception

T = TypeVar("T")


@dataclass(frozen=True)
class Text:
    """The input of the conditioner, in training and in generation alike.

    Attributes:
        prompt: the caption or the artist's prompt.
        lyrics: empty for instrumental music; None where somebody sings words that are not known.
        bpm: beats per minute.
        key: such as `A minor`.
        time_signature: the numerator, such as `4`.
        vocal_language: of the lyrics, an ISO 639 code such as `ja`; the model's default if not given.
    """

    prompt: str
    lyrics: str | None = ""
    bpm: int | None = None
    key: str | None = None
    time_signature: str | None = None
    vocal_language: str | None = None


@dataclass(frozen=True)
class Latents:
    """A track in the form that its model made, from which an edit starts without encoding the track.

    Attributes:
        values: `[T, C]`.
        gain: the factor from the decoded latents to the track's samples.
    """

    values: NDArray[np.float32]
    gain: float


@dataclass(frozen=True)
class Recording:
    """Audio that a row is conditioned on, at the model's sample rate and channels.

    Attributes:
        samples: `[channels, samples]` within ±1.
        sha256: identifies the content, as a key of caches.
        latents: those of the recording without silence around it, if they were kept.
    """

    samples: NDArray[np.float32] = field(compare=False, repr=False)
    sha256: str
    latents: Latents | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Edit:
    """A task that starts from a source recording.

    Attributes:
        task: any but `text`.
        source: as long as the row. For extend it is padded with silence where it is extended.
        start: of the window that is generated, in seconds of the row; 0 for tasks that generate the whole.
        end: of the window, in seconds.
        before: of extend: the seconds of silence in front of the source. If the window does not begin with the row,
            they are generated as well.
        strength: of a cover: the share of the steps that are conditioned on the source.
        noise_strength: of a cover: 0 starts from noise, 1 from the source; None for the checkpoint's default.
        injected_share: of repaint and extend: the share of the steps after which the source still replaces the latents
            outside the window.
        tracks: those that lego, extract and complete generate.
    """

    task: Task
    source: Recording
    start: float
    end: float
    strength: float = 1.0
    noise_strength: float | None = None
    injected_share: float = 0.5
    tracks: tuple[TrackName, ...] = ()
    before: float = 0.0

    @property
    def windows(self) -> tuple[tuple[float, float], ...]:
        """Start and end of each part that is generated, in seconds: two where a source is extended at both ends."""
        in_front = ((0.0, self.before),) if self.before and self.start else ()
        return (*in_front, (self.start, self.end))

    @property
    def keeps_outside(self) -> bool:
        """Whether the source outside the window stays as it is."""
        return self.task in ("repaint", "extend")


class Shared(Generic[T]):
    """What rows that differ only in their seeds have in common: the first of them computes it, and all hold it."""

    def __init__(self) -> None:
        self._value: T | None = None

    def get(self, compute: Callable[[], T]) -> T:
        if self._value is None:
            self._value = compute()
        return self._value


@dataclass(frozen=True)
class Row:
    """One request, as a row of a batch.

    Attributes:
        text: what to play.
        seconds: duration.
        options: how it is sampled.
        adapters: each with its strength; empty for the base model.
        edit: the task and its source; None for text alone.
        reference: audio whose timbre the row follows.
        keep: called with the track's latents when it is done; None if they are not wanted.
        emit: called with each piece of the audio as soon as it is decoded, `[channels, samples]` at the level at which
            the model makes it. The row's own result is then empty. None for audio that is answered as a whole.
        shared: the condition, for rows that differ only in their seeds; None for a row that is alone.
    """

    text: Text
    seconds: float
    options: SamplingOptions
    adapters: Sequence[tuple[AdapterWeights, float]] = ()
    edit: Edit | None = None
    reference: Recording | None = None
    keep: Callable[[Latents], None] | None = field(default=None, compare=False, repr=False)
    emit: Callable[[NDArray[np.float32]], None] | None = field(default=None, compare=False, repr=False)
    shared: Shared[Any] | None = field(default=None, compare=False, repr=False)

    def condition(self, compute: Callable[[], T]) -> T:
        """What `compute` returns, which must not depend on the seed; once for all rows that share it."""
        return self.shared.get(compute) if self.shared else compute()

    def takes(self, count: int) -> list[Row]:
        """Rows that differ from this one in their seeds alone, the first of which is this one's."""
        shared, options = Shared[Any](), self.options
        return [replace(self, options=options.take(number), shared=shared) for number in range(count)]

    @property
    def recorded_bytes(self) -> int:
        """The memory of its recordings."""
        source = self.edit.source if self.edit else None
        return sum(each.samples.nbytes for each in (source, self.reference) if each)


# Work that can be interrupted: at each `yield` the scheduler may run another batch first.
Interruptible = Generator[None, None, None]


@dataclass(frozen=True)
class Plan:
    """The work that a row will take, known before anything is computed for it.

    Attributes:
        steps: number of steps.
        cost: cost of one step, in a unit of the model's own, such as tokens.
        batch_key: only rows with equal keys can share a batch. `None` is the key of all rows without restrictions.
        encoded_seconds: duration of recordings that `Model.prepare` has to encode; 0 if it need not be called.
    """

    steps: int
    cost: float
    batch_key: Hashable = None
    encoded_seconds: float = 0.0


class Run(Protocol):
    """The state of a row that is being generated. It can move from one batch to another between steps."""

    @property
    def steps_left(self) -> int: ...


class Batch(Protocol):
    """Runs that take their steps together, until the scheduler replaces it by another batch."""

    def step(self) -> Interruptible:
        """Take one step with every run. If it is abandoned at a `yield`, no run has changed."""
        ...


R = TypeVar("R", bound=Run)


class Model(Protocol[R]):
    """A loaded checkpoint. It is not safe to call from two threads at once.

    Attributes:
        traits: how it was trained; the default ones for a backend that does not set them.
    """

    backend: ClassVar[str]
    sample_rate: int
    channels: int
    traits: Traits = DEFAULT_TRAITS

    @property
    def tasks(self) -> frozenset[Task]:
        """The tasks that the loaded checkpoint can do."""
        return frozenset({"text"})

    @property
    def takes_reference(self) -> bool:
        """Whether rows may have a `reference`."""
        return False

    @property
    def keeps_latents(self) -> bool:
        """Whether `finish` calls a row's `keep`, and `begin` uses the latents of a source."""
        return False

    @property
    def streams(self) -> bool:
        """Whether rows may have `emit`."""
        return False

    @property
    def device(self) -> torch.device: ...

    @property
    def dtype(self) -> torch.dtype: ...

    @classmethod
    def load(cls, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype, memory: MemoryMode = ...) -> Self:
        """Load a checkpoint with `from_pretrained`. Raises `CheckpointError` if it is not one of this backend.

        Args:
            memory: by default all of it is on the device, in `dtype`.
        """
        ...

    def compile(self) -> None:
        """Compile the layers with `torch.compile`. Does nothing in backends that have nothing to compile."""

    @property
    def adapted(self) -> torch.nn.Module:
        """The module whose Linear layers can be adapted."""
        ...

    def file_name(self, module: str) -> str:
        """The name in adapter files of the Linear layer `module` of `adapted`."""
        ...

    @cached_property
    def merged(self) -> MergedWeights:
        """The weights with adapters merged into them, which rows with the same adapters share."""
        from adapters.merged_weights import MergedWeights

        return MergedWeights(self.adapted)

    @property
    def overhead(self) -> float:
        """Estimated cost of a step beyond its rows' costs, in the same unit. Small if one row fills the device."""
        ...

    def plan(self, row: Row) -> Plan:
        """Plan a row. Raises if the row is invalid."""
        ...

    def has_room(self, row: Row) -> bool:
        """Whether there is memory for the weights that the row's adapters are merged into. Thread-safe."""
        return self.merged.has_room(row.adapters)

    def prepare(self, row: Row) -> Interruptible:
        """Encode a row's recordings, so that `begin` need not do it without a pause. The model keeps the results."""
        yield from ()

    def begin(self, row: Row) -> R:
        """Compute a row's inputs that all steps share, such as its text encoding. Raises if the row is invalid."""
        ...

    def batch(self, runs: Sequence[R]) -> Batch:
        """Batch runs that have the same `batch_key`. Batches that they were in before must not be used any more."""
        ...

    def next_piece(self, run: R, row: Row) -> Interruptible | None:
        """Work that decodes the next piece of a row that has steps left, for its `emit`; None if there is no piece yet.

        If it is abandoned at a `yield`, the run has not changed.
        """
        return None

    def finish(self, run: R, row: Row) -> Generator[None, None, NDArray[np.float32]]:
        """Decode a run with no steps left into audio. Raises if the result is invalid, such as not finite.

        With `emit`, the pieces that are left go there.
        """
        ...

    def response(self, row: Row) -> Generator[None, None, torch.Tensor]:
        """A result by which two rows can be compared, to measure the effect of an adapter.

        This one is the row's audio; backends override it with something cheaper, such as the latents after one step.
        """
        import torch

        run = self.begin(row)
        while run.steps_left:
            yield from self.batch([run]).step()
        return torch.from_numpy((yield from self.finish(run, row)))

    def reconstruct(self, audio: NDArray[np.float32]) -> NDArray[np.float32] | None:
        """Audio `[channels, samples]` after the codec's encoder and decoder: the best that this model could play.

        None in backends that do not implement it.
        """
        return None

    def generate(self, rows: Sequence[Row]) -> list[Track]:
        """Generate rows in as few batches as possible. An error of one row is that row's result."""
        tracks: dict[int, Track] = {}
        batch_keys: dict[Hashable, dict[int, R]] = {}
        for index, row in enumerate(rows):
            try:
                batch_key = self.plan(row).batch_key
                batch_keys.setdefault(batch_key, {})[index] = self.begin(row)
            except Exception as error:  # noqa: BLE001 - any error of a row is its result
                tracks[index] = error
        for runs in batch_keys.values():
            self._run(list(runs.values()))
            for index, run in runs.items():
                try:
                    tracks[index] = run_to_end(self.finish(run, rows[index]))
                except Exception as error:  # noqa: BLE001 - as above
                    tracks[index] = error
        return [tracks[index] for index in range(len(rows))]

    def _run(self, runs: Sequence[R]) -> None:
        while left := [run for run in runs if run.steps_left]:
            batch = self.batch(left)
            for _ in range(min(run.steps_left for run in left)):
                run_to_end(batch.step())


def run_to_end(work: Generator[None, None, T]) -> T:
    """Run interruptible work to its end without interruption, and return its result."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: T = end.value
            return result
